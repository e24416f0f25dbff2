"""Children that are kept running until they are told to stop.

A child that dies is started again, a little later each time; one that keeps dying soon after its start breaks the
whole. Signals: the first asks for a drain, a second Ctrl-C ends everything at once; SIGHUP is passed on.
"""

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from protocol.signals import HangUps
from trunkline.process import Process, ending

log = logging.getLogger(__name__)

USAGE, UNREACHABLE, DRAIN_RAN_OUT, INTERRUPTED = 2, 3, 4, 130  # exit codes; 0: drained, 1: unexpected
SETTLED_S = 1.0  # a child that lived this long after it was ready died of something new
DEATHS = 5  # in a row, each before that: it keeps dying
BACKOFF_FIRST_S, BACKOFF_LAST_S = 0.1, 2.0
ABANDON_S = 0.5  # nothing is running yet when a start fails: no need to wait for a drain
KILL_S = 5.0

Ready = Callable[[Process], Awaitable[dict[str, Any]]]


class StartFailed(Exception):
    """A child did not become ready. The text says why; `exit_code` is what that makes ours."""

    def __init__(self, sentence: str, *, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class KeepsDying(Exception):
    """A child that no restart helps."""


async def ready_line(process: Process) -> dict[str, Any]:
    """What a child says when it is ready: one JSON object on one line of stdout; empty when it ends instead."""
    said = await process.first_line()
    line: dict[str, Any] = json.loads(said) if said else {}
    return line


class Plan(NamedTuple):
    """How to start a child, and how to know that it is ready: `ready` returns what it said, empty when it died."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path | None = None  # None: where ours goes
    ready: Ready = ready_line
    start_s: float = 30.0
    reloads: bool = False  # on SIGHUP it reads its configuration again


class Child:
    """One place in the line: its process is replaced when it dies."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.said: dict[str, Any] = {}
        self.stopping = False
        self.early_deaths = 0
        self.ready_at: float | None = None
        self.process: Process
        self._to_reload = False

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return hasattr(self, "process") and self.process.alive

    async def start(self) -> None:
        """Start a process and wait until it is ready. Raises StartFailed."""
        self.ready_at = None
        try:
            self.process = Process(self.plan.argv, self.plan.env, log=self.plan.log)
        except OSError as error:
            raise StartFailed(f"{self.plan.name} cannot be started: {error}") from None
        try:
            async with asyncio.timeout(self.plan.start_s):
                said = await self.plan.ready(self.process)
        except TimeoutError:
            await self.kill()
            raise StartFailed(
                f"{self.plan.name} was not ready within {self.plan.start_s:g} s{self.see_log()}"
            ) from None
        if not said:
            await self._explain_end()
        self.said = said  # until here, what the one before it said: others read it meanwhile
        self.ready_at = asyncio.get_running_loop().time()
        if self._to_reload:
            self.reload()

    def reload(self) -> None:
        """Have it read its configuration again: at once, or when it is ready. Before, it would die of the signal."""
        self._to_reload = self.ready_at is None
        if not self._to_reload:
            self.process.send(signal.SIGHUP)

    async def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        if self.alive:
            self.process.send(signal.SIGKILL)
            await self.process.exits_within(KILL_S)

    def died(self) -> float:
        """Count a death; how long to wait before the next start, in seconds."""
        now = asyncio.get_running_loop().time()
        settled = self.ready_at is not None and now - self.ready_at >= SETTLED_S
        self.early_deaths = 1 if settled else self.early_deaths + 1
        return float(min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2 ** (self.early_deaths - 1)))

    async def _explain_end(self) -> None:
        code = await self.process.exited()
        words = self.process.last_words()
        why = f": {words.removeprefix('trunkline: ')}" if words else ""
        raise StartFailed(
            f"{self.plan.name} {ending(code)}{why}{self.see_log()}",
            exit_code=code if code in (USAGE, UNREACHABLE) else 1,
        )

    def see_log(self) -> str:
        """Where its log is, in brackets."""
        return f" (see {self.plan.log})" if self.plan.log else ""


class Supervisor:
    """Starts children, keeps them running, stops them. `changed` is called after a child was replaced."""

    def __init__(self, *, restart: bool, changed: Callable[[], None] = lambda: None) -> None:
        self._restart = restart
        self._changed = changed
        self._keepers: set[asyncio.Task[None]] = set()
        self.children: list[Child] = []
        self.broken = asyncio.Event()
        self.why = ""

    async def start(self, plan: Plan) -> Child:
        """Start one child and keep it running. Raises StartFailed: it did not come up even once."""
        child = Child(plan)
        self.children.append(child)
        try:
            await child.start()
        except StartFailed:
            self.children.remove(child)
            raise
        self._keepers.add(asyncio.create_task(self._keep(child), name=f"keep {plan.name}"))
        return child

    async def start_all(self, plans: Iterable[Plan]) -> list[Child]:
        """Start several at the same time. Raises StartFailed: the first that did not come up."""
        try:
            async with asyncio.TaskGroup() as starting:
                tasks = [starting.create_task(self.start(plan)) for plan in plans]
        except* StartFailed as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def stop(self, children: Iterable[Child], *, grace_s: float) -> int:
        """SIGTERM, then SIGKILL for what is still there after `grace_s` seconds.

        Returns:
            0: all drained; 4: a drain ran out; 1: something else went wrong.
        """
        running = [child for child in children if not child.stopping]
        for child in running:
            child.stopping = True
        running = [child for child in running if child.alive]
        for child in running:
            child.process.send(signal.SIGTERM)
        codes = await asyncio.gather(*(self._end(child, grace_s) for child in running))
        if DRAIN_RAN_OUT in codes:
            return DRAIN_RAN_OUT
        return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1

    def reload(self) -> None:
        """Have those that know how to read their configuration again do it."""
        told = [child for child in self.children if child.plan.reloads and not child.stopping]
        names = ", ".join(child.plan.name for child in told) or "nobody"
        log.info("SIGHUP is passed on to %s; their logs say what came of it", names)
        for child in told:
            child.reload()

    async def kill(self) -> None:
        """End whatever is left, at once."""
        for child in self.children:
            child.stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(child.kill() for child in self.children))

    async def _end(self, child: Child, grace_s: float) -> int:
        if await child.process.exits_within(grace_s):
            return await child.process.exited()
        log.warning("%s did not stop within %g s and is killed", child.plan.name, grace_s)
        await child.kill()
        return DRAIN_RAN_OUT

    async def _keep(self, child: Child) -> None:
        """Start it again whenever it dies."""
        while True:
            code = await child.process.exited()
            if child.stopping:
                return
            wait_s = child.died()
            if not self._restart:
                log.warning("%s %s and is not started again", child.plan.name, ending(code))
                return
            if child.early_deaths >= DEATHS:
                self._give_up(child, code)
                return
            log.warning("%s %s and is started again", child.plan.name, ending(code))
            await asyncio.sleep(wait_s)
            if child.stopping:
                return
            await self._start_again(child)

    async def _start_again(self, child: Child) -> None:
        try:
            await child.start()
        except StartFailed as failed:
            log.warning("%s", failed)
        else:
            self._changed()

    def _give_up(self, child: Child, code: int) -> None:
        words = child.process.last_words()
        self.why = f"{child.plan.name} keeps dying: it {ending(code)}{f': {words}' if words else ''}{child.see_log()}"
        self.broken.set()


async def supervise(
    supervisor: Supervisor,
    start: Callable[[], Coroutine[Any, Any, None]],
    drain: Callable[[], Coroutine[Any, Any, int]],
) -> int:
    """Run `start`, wait for a signal or for a child that keeps dying, run `drain`; nothing is left behind.

    SIGHUP reloads the children, unless it tells that our terminal is gone.

    Returns:
        The exit code: what `drain` says, or 130 after a second Ctrl-C.

    Raises:
        StartFailed, KeepsDying: after everything was stopped.
    """
    asked, at_once = asyncio.Event(), asyncio.Event()
    with _signals(asked, at_once, supervisor.reload):
        serving = asyncio.create_task(_serve(supervisor, start, drain, asked))
        impatient = asyncio.create_task(at_once.wait())
        try:
            await asyncio.wait({serving, impatient}, return_when=asyncio.FIRST_COMPLETED)
            return serving.result() if serving.done() else INTERRUPTED
        finally:
            serving.cancel()
            impatient.cancel()
            await asyncio.gather(serving, impatient, return_exceptions=True)
            await supervisor.kill()


async def _serve(
    supervisor: Supervisor,
    start: Callable[[], Coroutine[Any, Any, None]],
    drain: Callable[[], Coroutine[Any, Any, int]],
    asked: asyncio.Event,
) -> int:
    starting = asyncio.create_task(start())
    ended = asyncio.create_task(_first(asked, supervisor.broken))
    try:
        await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await ended
    except StartFailed:
        await supervisor.stop(supervisor.children, grace_s=ABANDON_S)
        raise
    finally:
        starting.cancel()
        ended.cancel()
        await asyncio.gather(starting, ended, return_exceptions=True)
    code = await drain()
    if supervisor.broken.is_set():
        raise KeepsDying(supervisor.why)
    return code


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    async with asyncio.TaskGroup() as waiting:
        tasks = [waiting.create_task(event.wait()) for event in events]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


@contextlib.contextmanager
def _signals(asked: asyncio.Event, at_once: asyncio.Event, reload: Callable[[], None]) -> Iterator[None]:
    """The first signal that means an end sets `asked`, a Ctrl-C after it `at_once`; others call `reload`."""
    loop, hang_ups = asyncio.get_running_loop(), HangUps()

    def interrupt() -> None:
        (at_once if asked.is_set() else asked).set()

    def hang_up() -> None:
        (asked.set if hang_ups.terminal_is_gone else reload)()

    handlers = {signal.SIGINT: interrupt, signal.SIGTERM: asked.set, signal.SIGHUP: hang_up}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
