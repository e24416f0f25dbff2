"""What every drill stands on: a line, the upstream beside it, and the turns that the drill has begun."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeVar

from bench import verdict
from bench.client import Answer, Call
from bench.line import Upstream, pools
from bench.orders import Generation
from bench.polling import until
from bench.response_call import ResponseCall
from bench.witness import Witness
from protocol.messages import TurnRecord

FIRST_MS = 300
RATE = 50
TOKENS = 30
SPEECH = f"first_ms={FIRST_MS} rate={RATE} tokens={TOKENS}"
"""A turn of 0.9 s: long enough to be hit anywhere, short enough for hundreds of them."""

HOLD = "rate=10 tokens=2000"
"""A turn that keeps its slot until it is hung up on."""

SETTLE_S = 8.0
"""How long a line may take until nothing is left of its turns: a lost cancel heals after a lease of 3 s, a dead
worker is counted for 3 s more."""

TOOL = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Write something down.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    },
}


CallT = TypeVar("CallT", bound=Call)


class State(Enum):
    """How far a turn has come."""

    QUEUED = "queued"  # offered, and every slot is taken
    CLAIMED = "claimed"  # a worker runs it, the model is still silent
    MID_STREAM = "mid-stream"


class Moment(NamedTuple):
    """When something happens to a turn: its state, and how much of that state's time has passed, from 0 to 1."""

    state: State
    share: float = 0.5


def sweep(runs: int, *states: State) -> list[Moment]:
    """Moments spread evenly over each of the states, taken in turns."""
    each = -(-runs // len(states))
    moments = [Moment(state, index / max(1, each - 1)) for index in range(each) for state in states]
    return moments[:runs]


class Turn(NamedTuple):
    """One request of a drill. Its trace id finds its record, its tag what the upstream saw of it."""

    tag: str
    trace_id: str
    call: Call

    @property
    def answer(self) -> Answer:
        return self.call.answer


class Reply(NamedTuple):
    """The same of the Responses API: `call` is the turn's own."""

    turn: Turn
    call: ResponseCall
    words: int  # of its input


class Standing(Protocol):
    """What a stage needs of a line."""

    slots: int
    nats_url: str

    @property
    def edge_urls(self) -> list[str]: ...

    @property
    def worker_admins(self) -> list[str]: ...


class Stage:
    """Begins turns, and knows afterwards what must have become of them."""

    def __init__(self, line: Standing, upstream: Upstream) -> None:
        self._line = line
        self._upstream = upstream
        self._witness = Witness(line.nats_url)
        self._tags = (f"{secrets.token_hex(3)}-{number}" for number in itertools.count())
        self._calls: list[Call] = []
        self._traces: set[str] = set()

    # --- turns ----------------------------------------------------------------------------------------

    async def turn(self, orders: str = SPEECH, *, edge: int = 0, **body: Any) -> Turn:
        """Begin one turn. `orders` are what the upstream does, `body` goes into the request.

        Raises:
            OSError: the edge takes no connection.
        """
        tag = next(self._tags)
        message = {"role": "user", "content": f"#{tag} {orders}"}
        request = {"model": "upstream", "stream": True, "messages": [message], **body}
        call, trace_id = await self._place(Call, f"{self._line.edge_urls[edge]}/v1/chat/completions", request)
        return Turn(tag, trace_id, call)

    async def reply(self, orders: str = SPEECH, *, edge: int = 0, **body: Any) -> Reply:
        """Begin one turn of the Responses API. Parameters and errors as with `turn`."""
        tag = next(self._tags)
        said = f"#{tag} {orders}"
        request = {"model": "upstream", "stream": True, "input": said, **body}
        call, trace_id = await self._place(ResponseCall, self.responses_url(edge), request)
        return Reply(Turn(tag, trace_id, call), call, len(said.split()))

    def responses_url(self, edge: int = 0) -> str:
        """Where an edge makes responses, and, below it, shows them."""
        return f"{self._line.edge_urls[edge]}/v1/responses"

    async def _place(self, kind: type[CallT], url: str, request: dict[str, Any]) -> tuple[CallT, str]:
        trace_id = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
        call = await kind.place(url, request, headers=headers)
        self._calls.append(call)
        self._traces.add(trace_id)
        return call, trace_id

    async def turns(self, count: int, orders: str = SPEECH, *, edge: int = 0, **body: Any) -> list[Turn]:
        """Begin several at once."""
        return list(await asyncio.gather(*(self.turn(orders, edge=edge, **body) for _ in range(count))))

    async def fill(self, orders: str = HOLD, *, edge: int = 0) -> list[Turn]:
        """Take every slot of the line, and be sure of it."""
        turns = await self.turns(len(self._line.worker_admins) * self._line.slots, orders, edge=edge)
        await self.begun(turns)
        return turns

    async def begun(self, turns: Sequence[Turn], timeout_s: float = 5.0) -> None:
        """Wait until the upstream was called for each.

        Raises:
            TimeoutError: it was not.
        """
        seen = await until(lambda: self.generations(turns), lambda seen: all(seen.values()), timeout_s)
        if missing := [tag for tag, generations in seen.items() if not generations]:
            raise TimeoutError(f"{len(missing)} of {len(turns)} turns did not reach the upstream within {timeout_s} s")

    async def reach(self, turns: Sequence[Turn], moment: Moment) -> None:
        """Wait until turns of `SPEECH` have come that far."""
        if moment.state is State.MID_STREAM:
            await asyncio.gather(*(turn.call.heard(1 + int(moment.share * (TOKENS - 5))) for turn in turns))
            return
        span_s = FIRST_MS / 1000 if moment.state is State.CLAIMED else 0.2
        since = max(turn.answer.started for turn in turns)
        await asyncio.sleep(max(0.0, since + moment.share * span_s - time.monotonic()))

    async def ended(self, turns: Iterable[Turn], timeout_s: float = 30.0) -> list[str]:
        """Wait for every end; those that have none by then, and are hung up on."""
        ends = [turn.call.ended(timeout_s) for turn in turns]
        late = [end for end in await asyncio.gather(*ends, return_exceptions=True) if isinstance(end, BaseException)]
        return [f"{len(late)} of {len(ends)} streams had not ended after {timeout_s:.0f} s"] if late else []

    def release(self, turns: Iterable[Turn]) -> None:
        """Hang up: their slots are wanted again."""
        for turn in turns:
            turn.call.hang_up()

    async def clear(self) -> None:
        """Hang up on whatever is left of a run that broke off."""
        for call in self._calls:
            call.hang_up()
        self._calls.clear()
        await asyncio.sleep(0)

    def without_record(self, turns: Iterable[Turn]) -> None:
        """These are turns of an edge that was killed: nobody is left to write their records."""
        self._traces -= {turn.trace_id for turn in turns}

    # --- what became of them --------------------------------------------------------------------------

    async def generations(self, turns: Sequence[Turn]) -> dict[str, list[Generation]]:
        """What the upstream saw of each turn, by tag."""
        seen: dict[str, list[Generation]] = {turn.tag: [] for turn in turns}
        for one in await self._upstream.generations(list(seen)):
            seen[one.tag].append(one)
        return seen

    async def silent(self, turns: Sequence[Turn], timeout_s: float = 5.0) -> dict[str, list[Generation]]:
        """What it saw once nothing of it is still being said, or `timeout_s` later."""
        return await until(lambda: self.generations(turns), _all_silent, timeout_s)

    async def waiting(self) -> int:
        """How many jobs wait in the line's streams."""
        return sum((await self._witness.waiting()).values())

    async def records(self, turns: Sequence[Turn]) -> dict[str, TurnRecord]:
        """The record of each turn by its trace id, as far as they come in time."""
        wanted = {turn.trace_id for turn in turns}

        async def found() -> dict[str, TurnRecord]:
            every = await self._witness.records()
            return {record.trace_id: record for record in every if record.trace_id in wanted}

        return await until(found, lambda records: len(records) == len(wanted), SETTLE_S)

    async def settle(self) -> list[str]:
        """What is still wrong when the line has had its time: jobs left, slots taken, records missing or double."""
        return await until(self._unsettled, lambda wrong: not wrong, SETTLE_S, every_s=0.1)

    async def _unsettled(self) -> list[str]:
        return [
            *verdict.nothing_waits(await self._witness.waiting()),
            *verdict.slots_free(await pools(self._line.worker_admins), self._line.slots),
            *verdict.at_rest(await self._upstream.generations()),
            *verdict.one_record_each(self._traces, await self._witness.by_trace()),
        ]


def _all_silent(seen: dict[str, list[Generation]]) -> bool:
    return not any(one.open for generations in seen.values() for one in generations)
