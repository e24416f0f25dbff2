"""The model is late, often by more than a platform waits: how long nobody says anything, and what is heard then.

By ElevenLabs' rules, with its clock and its profile as they are. Whoever has less time has both, and the model, run
`faster`; times here are the platform's own all the same.
"""

import asyncio
import itertools
import math
import random
import re
from collections.abc import AsyncIterator, Iterator

import psutil
from msgspec import Struct, field

from bench.client import Answer, Call
from bench.guard.cost import GUARDED
from bench.models.turns import TURN_S, model, table_of, target
from bench.models.upstream import ANSWER, OPENING, WORDS, Manner, Targets
from protocol.profiles import BUILT_IN, CONTENT_CLOCK_S
from protocol.settings_types import TurnSettings

TITLE = "a model that is late"
NAME = "late"
TURNS, TURNS_OF_A_CALL, AT_ONCE = 10_000, 10, 160
SPREAD_S = 2.0  # of the calls' starts
CLOCK_S = CONTENT_CLOCK_S[GUARDED]
"""How long ElevenLabs waits for content unless it is told otherwise (`cascade_timeout_seconds`)."""

MEDIAN_S, SIGMA = 1.2, 1.0
"""Of the model's first word: log-normal, by which one in nine comes after the clock, one in 35 after the budget (2.9 %;
the seed draws 2.6 % of 10,000).
"""

SEED = 7
PROFILE = BUILT_IN[GUARDED]
BUDGET_S = PROFILE.budget_s or TurnSettings().budget_s
SAID = "".join(WORDS)


class Late:
    """A target whose first word comes when it likes. `waits` keeps when, in the platform's time."""

    def __init__(self, faster: float) -> None:
        self.waits: list[float] = []
        self._faster = faster
        self._random = random.Random(SEED)

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        wait = self._random.lognormvariate(math.log(MEDIAN_S), SIGMA)
        self.waits.append(wait)
        writer.write(OPENING)
        await asyncio.sleep(wait / self._faster)
        if not writer.transport.is_closing():  # it was given up meanwhile
            writer.write(ANSWER)


class Turn(Struct, frozen=True):
    """What a caller noticed of one turn. Seconds of the platform's time."""

    first_s: float  # nothing was heard; of a turn that never said anything, all of it
    pause_s: float  # the longest afterwards
    spoke: bool  # the edge did, while the model did not
    sentence: bool  # in place of the model, which never came
    wrong: str = ""


class Silence(Struct):
    """All turns."""

    turns: list[Turn] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # of the model
    busy_percent: float = 0.0  # of all cores

    @property
    def too_long(self) -> int:
        """Turns that a platform would have given up."""
        return sum(turn.first_s > CLOCK_S for turn in self.turns)

    @property
    def wrong(self) -> list[str]:
        return [turn.wrong for turn in self.turns if turn.wrong]

    @property
    def late(self) -> float:
        """The share of the model's answers that come after the clock."""
        return sum(wait > CLOCK_S for wait in self.waits) / max(1, len(self.waits))

    def share(self, what: str) -> float:
        """Of the turns in which that was so."""
        return sum(bool(getattr(turn, what)) for turn in self.turns) / max(1, len(self.turns))


def manners(faster: float = 1.0) -> tuple[Late, dict[str, Manner]]:
    """The target's, for `bench.models.upstream`."""
    late = Late(faster)
    return late, {NAME: late}


def config(targets: Targets, faster: float = 1.0) -> str:
    """The model, its target and the profile, whose timers run faster."""
    timers = {name: getattr(PROFILE, name) / faster for name in ("guard_s", "again_s")}
    return "\n".join([
        table_of(f"profiles.{NAME}", {"base": GUARDED, **timers, "budget_s": BUDGET_S / faster}),
        target(NAME, targets.base_url(NAME, NAME)),
        model(NAME, [NAME], profile=NAME),
    ])  # fmt: skip


async def measure(url: str, late: Late, turns: int = TURNS, *, faster: float = 1.0) -> Silence:
    """So many turns, of calls beside each other, each of which sends back what it has heard."""
    silence = Silence(waits=late.waits)
    numbers = iter(range(turns))
    calls = itertools.count()

    async def lane(share: float) -> None:
        await asyncio.sleep(share * SPREAD_S / faster)
        while some := list(itertools.islice(numbers, TURNS_OF_A_CALL)):
            async for turn in _call(url, f"late-{next(calls)}", len(some), faster):
                silence.turns.append(turn)

    psutil.cpu_percent()
    async with asyncio.TaskGroup() as lanes:
        for number in range(AT_ONCE):
            lanes.create_task(lane(number / AT_ONCE))
    silence.busy_percent = psutil.cpu_percent()
    return silence


async def _call(url: str, call_id: str, turns: int, faster: float) -> AsyncIterator[Turn]:
    """One call's turns, one after the other."""
    messages: list[dict[str, str]] = []
    for _ in range(turns):
        messages.append({"role": "user", "content": "Count."})
        body = {"model": NAME, "stream": True, "messages": messages}
        call = await Call.place(url, body, headers={"X-Conversation-Id": call_id})
        answer = await call.ended(TURN_S)
        messages.append({"role": "assistant", "content": answer.text})
        yield judged(answer, faster)


def judged(answer: Answer, faster: float) -> Turn:
    """What came of a turn. The model's words have to be there whole and once, or its sentence and none of them."""
    heard_at = [answer.started, *answer.chunk_at, answer.ended_at or answer.started]
    pauses = [(after - before) * faster for before, after in itertools.pairwise(heard_at)]
    spoken, rest = apart(answer.text)
    sentence = rest in PROFILE.sentences.values()
    whole = answer.done and answer.finish_reason == "stop" and (sentence or rest == SAID)
    wrong = "" if whole else f"{answer.status} {answer.error or answer.text!r}, {answer.finish_reason}"
    return Turn(pauses[0], max(pauses[1:], default=0.0), spoke=bool(spoken), sentence=sentence, wrong=wrong)


def apart(text: str) -> tuple[str, str]:
    """What the edge said before the model did, and the rest."""
    spoken = _SPOKEN.match(text)
    assert spoken is not None
    return spoken[0], text[spoken.end() :]


def _ours() -> Iterator[str]:
    yield " "
    for fillers in PROFILE.fillers.values():
        yield from (re.escape(f"{filler}... ") for filler in fillers)


_SPOKEN = re.compile(f"(?:{'|'.join(_ours())})*")
