"""Log probabilities as OpenAI's APIs tell them. Pure; what cannot be read counts as absent."""

from typing import Any

import msgspec
from msgspec import Struct

from protocol.messages import TokenLogprob


class _Logprob(Struct, gc=False):
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple["_Logprob", ...] | None = None


def logprobs_of(told: Any) -> tuple[TokenLogprob, ...]:
    """Those of a list of tokens; none where one cannot be read."""
    try:
        entries = msgspec.convert(told, tuple[_Logprob, ...] | None) or ()
    except msgspec.ValidationError:
        return ()
    return tuple(_logprob(entry) for entry in entries)


def _logprob(entry: _Logprob) -> TokenLogprob:
    likeliest = tuple(_logprob(top) for top in entry.top_logprobs or ())
    return TokenLogprob(entry.token, entry.logprob, entry.bytes, likeliest)


def of_the_end(text: str, entries: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
    """Those of the last tokens that are this text, exactly, else none: what precedes it was thought, or a tag."""
    first, rest = len(entries), text.encode(errors="replace")
    while first and rest and rest.endswith(token := _bytes_of(entries[first - 1])):
        first -= 1
        rest = rest.removesuffix(token)
    return () if rest else entries[first:]


def _bytes_of(entry: TokenLogprob) -> bytes:
    """A token may be a part of a character: its bytes count, where they are told."""
    told = entry.bytes
    return bytes(told) if told and all(0 <= byte < 256 for byte in told) else entry.token.encode(errors="replace")
