"""What the result of a tool call says of the call: done, failed, or nobody knows. Pure.

Only what stands on top of an object counts, as what lies deeper is the tool's subject: an order whose delivery failed
was looked up with success. An explicit success is believed, whatever else is written beside it.
"""

import re
from enum import Enum, auto
from typing import Literal

import msgspec
from msgspec import Struct

from protocol.codec import DecodeError

STATE = re.compile(
    r"(?P<done>(.*_)?(success|succeeded|successful)|ok|okay|done|complete|completed)"
    r"|(?P<failed>(.*[_ -])?(error|fail|fails|failed|failure|exception|unsuccessful|cancell?ed|rejected|declined|denied"
    r"|aborted|no[_ -]answer|busy|unavailable|unreachable|timeout|timed[_ -]out|unsupported|not[_ -]supported))"
    r"|(?P<unknown>in[_ -]progress|pending|running|queued|started|unknown|)"
)
WORDS = re.compile(
    r"(?P<failed>(an? )?(internal )?(tool )?(error|exception|failed|failure|cancell?ed|unsuccessful)\b"
    r"|(false|no[_ ]answer|busy|timed out|timeout)[.!]?\Z"
    r"|[^.:,;]{0,80}(?<!\bnot )(?<!\bno )(?<!\b0 )(?<!\bnone )(?<!\bnothing )\b(failed|unsuccessful)( *:|[.!]?\Z)"
    r"|[^.:,;]{0,80}(?<!\bno )\berror *:"
    r"|[^.]{0,80}\b(not |un)supported[.!]?\Z)"  # a short sentence; in a long text it is somebody's knowledge
    r"|(?P<unknown>in[_ ]progress\b|pending\b|no result\b|(none|null|undefined)?\Z)",
)
NO_ERROR = ("", "none", "null", "no", "false", "ok")  # in words, as some write it
FIRST_ERROR_STATUS = 400  # of HTTP
MAX_STATE_CHARS = 100  # a longer one is none
BEGINNING_CHARS = 400  # of words, longer than any that say how a call went


class Result(Enum):
    """What came of a call, as far as its result tells."""

    DONE = auto()
    FAILED = auto()
    UNKNOWN = auto()  # none came, it is still under way, or nobody knows


class _Envelope(Struct):
    """Of an object, what may say how the call went; all else is read over."""

    success: object = None
    ok: object = None
    status: object = None
    type: object = None
    result_type: object = None
    outcome: object = None
    result: object = None
    error: object = None
    errors: object = None
    is_error: object = None
    is_mcp_error: object = msgspec.field(default=None, name="isError")


_envelope = msgspec.json.Decoder(_Envelope)


def result_of(text: str) -> Result:
    """What a result says, as an object, as another JSON value, or in plain words."""
    try:
        if text.lstrip().startswith("{"):
            return _of_envelope(_envelope.decode(text))
        value = msgspec.json.decode(text)
    except DecodeError:
        value = text
    if isinstance(value, str):
        return _of_words(value)
    if value is None:
        return Result.UNKNOWN
    return Result.FAILED if value is False else Result.DONE


def _of_envelope(told: _Envelope) -> Result:
    """What is said with the least doubt counts: a flag, then a success, then an error."""
    flags = [_flag(value) for value in (told.success, told.ok)]
    states = [_of_state(value) for value in (told.status, told.type, told.result_type, told.outcome, _kind(told))]
    has_error = any(map(_is_error, (told.error, told.errors, told.is_error, told.is_mcp_error)))
    for result, said in (
        (Result.FAILED, Result.FAILED in flags),
        (Result.DONE, Result.DONE in flags or Result.DONE in states),
        (Result.FAILED, Result.FAILED in states or has_error),
        (Result.UNKNOWN, Result.UNKNOWN in states),
    ):
        if said:
            return result
    return _of_words(told.result) if isinstance(told.result, str) else Result.DONE


def _kind(told: _Envelope) -> object:
    """ElevenLabs has the kind of a system tool's result in it, or one deeper.

    Source: ElevenLabs Python SDK 2.78, results of system tools in a transcript (read 2026-11).
    """
    kind = told.result.get("result_type") or told.result.get("type") if isinstance(told.result, dict) else None
    return kind if isinstance(kind, str) and kind.endswith(("_success", "_error")) else None


def _flag(value: object) -> Literal[Result.DONE, Result.FAILED] | None:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().casefold())
    return (Result.DONE if value else Result.FAILED) if isinstance(value, bool) else None


def _of_state(value: object) -> Result | None:
    """None: it says something else, such as what kind of thing the object is."""
    if isinstance(value, bool):
        return _flag(value)
    if isinstance(value, int):
        return Result.FAILED if value >= FIRST_ERROR_STATUS else None
    if not isinstance(value, str) or len(value) > MAX_STATE_CHARS:
        return None
    match = STATE.fullmatch(value.strip().casefold())
    return Result[match.lastgroup.upper()] if match and match.lastgroup else None


def _is_error(value: object) -> bool:
    return value.strip().casefold() not in NO_ERROR if isinstance(value, str) else bool(value)


def _of_words(words: str) -> Result:
    match = WORDS.match(words.strip()[:BEGINNING_CHARS].casefold())
    return Result[match.lastgroup.upper()] if match and match.lastgroup else Result.DONE
