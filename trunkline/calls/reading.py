"""All that a line's streams keep of one call."""

import contextlib
from typing import NamedTuple

from protocol import codec
from protocol.codec import DecodeError
from protocol.messages import Hook, TurnRecord
from trunkline.listen import Listener
from trunkline.turns.reading import Reading
from trunkline.turns.wanted import Since, Wanted

PLATFORMS = ("elevenlabs",)
MOST_TURNS = 1000  # of one call


class Call(NamedTuple):
    """Its turns, and what came after it."""

    call_id: str
    turns: list[TurnRecord]
    hooks: list[Hook]


async def read_call(listener: Listener, call_id: str, *, tenant: str | None, since: Since | None) -> Call:
    """One call. Raises NoStream, or one of `UNANSWERED`."""
    wanted = Wanted(call=call_id, tenant=tenant)
    turns = await Reading(listener, wanted).newest(MOST_TURNS, since)
    return Call(call_id, turns, await _hooks(listener, call_id))


async def _hooks(listener: Listener, call_id: str) -> list[Hook]:
    """What every platform has sent of it, in the order in which it came."""
    subjects = listener.subjects
    found: list[Hook] = []
    for platform in PLATFORMS:
        for data in await listener.kept_under(subjects.hooks, subjects.hook(platform, call_id)):
            with contextlib.suppress(*DecodeError):
                found.append(codec.decode_hook(data))
    return found
