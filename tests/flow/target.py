"""An upstream that says what a script tells it to, each time in words of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from protocol.errors import ServiceError
from protocol.messages import Finished, Frame, Job, Text, Usage
from workers.targets import Patience

Step = float | Frame | ServiceError
"""Wait so many seconds; say this; fail so."""


@dataclass
class Saying:
    """One request to the upstream, and what it has said so far."""

    number: int
    job: Job
    worker: str
    said: list[str] = field(default_factory=list)
    closed: bool = False
    whole: bool = False

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.said)


Script = Callable[[int, Job], Iterable[Step]]


def words(count: int, *, first_s: float = 0.05, every_s: float = 0.02) -> Script:
    """So many words that no other request says: `2.0 2.1 2.2 …`."""

    def script(number: int, _: Job) -> Iterable[Step]:
        for at in range(count):
            yield every_s if at else first_s
            yield Text(f"{number}.{at} ")
        yield Finished("stop", Usage(prompt=5, completion=count))

    return script


class ScriptedTarget:
    """A `Target`. `sayings` is shared by all workers of a line."""

    name = "scripted"

    def __init__(self, worker: str, sayings: list[Saying], script: Callable[[], Script]) -> None:
        self._worker = worker
        self._sayings = sayings
        self._script = script

    def takes(self, job: Job) -> bool:
        """See `Target.takes`."""
        return True

    async def stream(self, job: Job, *, headers: Mapping[str, str], patience: Patience) -> AsyncIterator[Frame]:
        """See `Target.stream`."""
        saying = Saying(len(self._sayings), job, self._worker)
        self._sayings.append(saying)
        try:
            for step in self._script()(saying.number, job):
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, ServiceError):
                    raise step
                else:
                    if isinstance(step, Text):
                        saying.said.append(step.text)
                    yield step
            saying.whole = True
        finally:
            saying.closed = True
