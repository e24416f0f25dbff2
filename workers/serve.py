"""Take jobs while slots are free; drain."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from protocol.errors import Draining, Internal
from protocol.wire import Disconnected
from workers.claims import Delivery

log = logging.getLogger(__name__)


class Jobs(Protocol):
    """Where deliveries come from."""

    async def pull(self, start: Callable[[Delivery], None]) -> None:
        """Hand each job that is taken into a free slot to `start`, until cancelled."""

    async def stop_pulling(self) -> None:
        """Leave what is not here yet to others. What had arrived is still handed to `start`."""

    async def confirm(self, delivery: Delivery) -> None:
        """Return when the edge of a claim is known to listen; until then nothing is spent on it."""

    async def flush(self) -> None:
        """Return once all frames are sent."""


async def serve(jobs: Jobs, run: Callable[[Delivery], Awaitable[None]], *, drain_s: float, stop: asyncio.Event) -> bool:
    """Run jobs until `stop` is set, then let the running ones finish.

    After `stop` nothing new is taken; what still runs has `drain_s` seconds, then it is failed as retryable: another
    worker may take it. True: everything finished in time.
    """
    live: dict[asyncio.Task[None], Delivery] = {}
    async with asyncio.TaskGroup() as running:

        def start(delivery: Delivery) -> None:
            task = running.create_task(_guarded(jobs, run, delivery), name=f"turn {delivery.job.id}")
            delivery.stop = task.cancel
            live[task] = delivery
            task.add_done_callback(lambda task: _close(live.pop(task)))

        pulling = running.create_task(jobs.pull(start), name="pull")
        await stop.wait()
        await jobs.stop_pulling()
        pulling.cancel()
        drained = not live or not (await asyncio.wait(live, timeout=drain_s))[1]
        for delivery in list(live.values()):
            delivery.cancel(Draining("the worker stops; another one may take the turn"))
    try:
        await jobs.flush()
    except (TimeoutError, Disconnected):
        log.warning("stopping while the bus is away: the last frames may be lost")
    return drained


async def _guarded(jobs: Jobs, run: Callable[[Delivery], Awaitable[None]], delivery: Delivery) -> None:
    """The one broad handler: a bug in one job must not end its neighbours."""
    try:
        await jobs.confirm(delivery)
        await run(delivery)
    except Exception:
        log.exception("turn %s", delivery.job.id)
        delivery.fail(Internal("something went wrong here"))


def _close(delivery: Delivery) -> None:
    """Exactly one last frame leaves, even where a task was cancelled before it began."""
    delivery.fail(delivery.stopped_for or Internal("something went wrong here"))
