"""Turns of a worker whose targets say what a script tells them to, under a clock that jumps."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.codec import Addressed
from protocol.errors import ServiceError, UpstreamTimeout
from protocol.messages import Attempt, Claimed, Failed, Finished, Frame, Job, Reasoning, Text, Usage
from protocol.otlp import Ended
from protocol.settings_types import BreakerSettings
from protocol.spans import Spans
from tests.workers.target_jobs import job
from workers.attempts import UNSUPPORTED
from workers.breaker import Breaker
from workers.claims import Delivery
from workers.metrics import Metrics
from workers.routes import Choice, Route, route
from workers.run import Runner
from workers.targets import Patience

Step = float | Frame | ServiceError | Usage
"""Wait so many seconds; say this; fail so; know by now what it costs."""

USED = Usage(prompt=10, completion=2)


def says(*words: str, after_s: float = 0.1, usage: Usage = USED) -> list[Step]:
    """A whole answer."""
    return [after_s, *(Text(word) for word in words), Finished("stop", usage)]


def fails(error: ServiceError, *, after_s: float = 0.1) -> list[Step]:
    """Before any content."""
    return [after_s, error]


def cut(error: ServiceError, *words: str, after_s: float = 0.1) -> list[Step]:
    """After some."""
    return [after_s, *(Text(word) for word in words), 0.1, error]


def silent() -> list[Step]:
    """Longer than anybody waits."""
    return [1000.0]


@dataclass
class Asked:
    """One request to a target."""

    job: Job
    patience: Patience
    headers: Mapping[str, str]
    at: float
    closed_at: float | None = None


@dataclass
class Scripted:
    """A `Target`: its requests get one script each, the last one over and over. It keeps to its patience."""

    name: str
    scripts: list[list[Step]]
    first_content_s: float = 1.5
    close_s: float = 0.0  # what it takes to close its connection
    asked: list[Asked] = field(default_factory=list)
    considered: int = 0  # how often it had to say whether it takes a job

    @property
    def _script(self) -> list[Step]:
        """Of the next request."""
        return self.scripts[min(len(self.asked), len(self.scripts) - 1)]

    def takes(self, job: Job) -> bool:
        """See `Target.takes`: not where a script begins with an error that says so."""
        self.considered += 1
        return not isinstance(self._script[0], UNSUPPORTED) if self._script else True

    async def stream(self, job: Job, *, headers: Mapping[str, str], patience: Patience) -> AsyncIterator[Frame]:
        """See `Target.stream`."""
        loop, script = asyncio.get_running_loop(), self._script
        if script and isinstance(script[0], UNSUPPORTED):
            raise script[0]
        asked = Asked(job, patience, headers, loop.time())
        self.asked.append(asked)
        due = asked.at + min(patience.budget_s, patience.total_s)
        if not patience.last:
            due = min(due, asked.at + self.first_content_s)
        try:
            for step in script:
                if isinstance(step, float):
                    await asyncio.sleep(min(step, max(0.0, due - loop.time())))
                    if loop.time() >= due:
                        raise UpstreamTimeout(f"target {self.name!r} was too slow")
                elif isinstance(step, ServiceError):
                    raise step
                elif isinstance(step, Usage):
                    patience.told(step)
                else:
                    if not isinstance(step, Reasoning):
                        due = asked.at + patience.total_s
                    yield step
        finally:
            try:
                if self.close_s:
                    await asyncio.sleep(self.close_s)
            finally:
                asked.closed_at = loop.time()


def target(name: str, *scripts: Iterable[Step], **told: Any) -> Scripted:
    """A target of that name."""
    return Scripted(name, [list(script) for script in scripts], **told)


BREAKER = BreakerSettings()


def choice(scripted: Scripted, told: BreakerSettings = BREAKER, **fields: Any) -> Choice:
    """As a model's list has it."""
    return Choice(scripted, Breaker(told), **fields)


@dataclass
class Heard:
    """What left the worker in one turn, and when, counted from its beginning."""

    frames: list[tuple[float, Frame]]
    spans: list[Ended]
    metrics: Metrics

    @property
    def text(self) -> str:
        """All that was spoken."""
        return "".join(frame.text for _, frame in self.frames if isinstance(frame, Text))

    @property
    def thoughts(self) -> str:
        """All that was thought."""
        return "".join(frame.text for _, frame in self.frames if isinstance(frame, Reasoning))

    @property
    def last(self) -> Finished | Failed:
        """The last frame."""
        frame = self.frames[-1][1]
        assert isinstance(frame, Finished | Failed)
        return frame

    @property
    def code(self) -> str:
        """How it failed; "" where it did not."""
        return self.last.code if isinstance(self.last, Failed) else ""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Of the last frame."""
        return self.last.attempts

    @property
    def ways(self) -> list[tuple[str, str]]:
        """Its attempts in short: who, and what came of it."""
        return [(one.target, one.outcome if one.outcome != "skipped" else one.reason) for one in self.attempts]

    def first_s(self) -> float:
        """When the first word left."""
        return next(at for at, frame in self.frames if isinstance(frame, Text))

    def sample(self, name: str, **labels: str) -> float:
        """A metric, 0 where it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class Worker:
    """Answers turns one after the other, on one route."""

    def __init__(self, *choices: Choice | Scripted, made: Route | None = None, **told: Any) -> None:
        listed = [one if isinstance(one, Choice) else choice(one) for one in choices]
        self.route = made or route(*listed, **told)
        self.metrics = Metrics()

    async def answer(
        self,
        *,
        cancel_s: float | None = None,
        cancel_for: ServiceError | None = None,
        look: Callable[[Frame], None] = lambda _: None,
        **fields: Any,
    ) -> Heard:
        """One turn; its caller hangs up after so many seconds, or it is stopped for another reason."""
        loop = asyncio.get_running_loop()
        frames: list[tuple[float, Frame]] = []
        spans: list[Any] = []
        began = loop.time()

        def send(_: str, addressed: Addressed) -> None:
            assert addressed.frame is not None
            if not isinstance(addressed.frame, Claimed):
                look(addressed.frame)
                frames.append((round(loop.time() - began, 3), addressed.frame))

        told = job("hello there, this is a question", **fields)
        delivery = Delivery(told, pool="p", edge_id="e", line=1, claim=1, ack="a", trace={}, now=began, send=send)
        delivery.start()
        kept = Spans(lambda ended: spans.append(ended.data), encode=lambda ended: ended)  # type: ignore[arg-type,return-value]
        runner = Runner(lambda _: self.route, spans=kept, metrics=self.metrics, worker_id="w", clock=loop.time)
        task = asyncio.create_task(runner.run(delivery))
        delivery.stop = task.cancel
        if cancel_s is not None:
            loop.call_later(cancel_s, delivery.cancel, cancel_for)
        await task
        return Heard(frames, spans, self.metrics)
