"""Takes the planned calls, so many at a time, and says what became of each."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
from msgspec import Struct

from tests.platforms.clients import Call
from tests.platforms.platforms import PLATFORMS
from tests.platforms.soak.plan import PlannedCall
from tests.platforms.verdict import Verdict, verdict

MODEL = "front-desk"


class Outcome(Struct, frozen=True):
    """One call's end."""

    platform: str
    turns: int
    cut: int  # by the caller
    dropped: str  # why; empty: it was not
    verdict: Verdict
    requests: tuple[str, ...] = ()  # the ids of the turns, as the line told them
    longest_s: float = 0.0  # silence before the first content, in the platform's seconds


async def take(
    calls: Sequence[PlannedCall],
    base_url: str,
    side: str,
    *,
    pace: float,
    at_once: int,
    a_third: Callable[[], Awaitable[None]] | None = None,
) -> list[Outcome]:
    """All of them. `a_third` is awaited when so many are over."""
    outcomes: list[Outcome] = []
    slots = asyncio.Semaphore(at_once)

    async def one(number: int, web: aiohttp.ClientSession) -> None:
        async with slots:
            outcomes.append(await _call(calls[number], web, base_url, f"{side}{number}", pace))
        if a_third and len(outcomes) == len(calls) // 3:
            await a_third()

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as web,
        asyncio.TaskGroup() as running,
    ):
        for number in range(len(calls)):
            running.create_task(one(number, web))
    return outcomes


async def _call(planned: PlannedCall, web: aiohttp.ClientSession, base_url: str, tag: str, pace: float) -> Outcome:
    """Turn by turn, until somebody hangs up."""
    call = Call(PLATFORMS[planned.platform], web, base_url, pace=pace, model=MODEL, call_id=f"call-{tag}")
    for number, turn in enumerate(planned.turns, start=1):
        await call.turn(f"What are your hours? ({tag}/{number} {turn.acts})", hear=turn.hear, posts=turn.posts)
        if call.dropped or call.ended:
            break
    return Outcome(
        planned.platform,
        len(call.turns),
        sum(turn.cut for turn in call.turns),
        call.dropped,
        verdict(call.turns),
        tuple(headers["x-request-id"] for turn in call.turns for headers in turn.headers if "x-request-id" in headers),
        max(turn.silence_s for turn in call.turns),
    )
