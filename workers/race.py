"""Two requests beside each other: the first with content answers, the other connection is closed at once.

Tasks live only in here, and only until the first content: the winner is heard to its end in the turn's own.
"""

import asyncio
from collections.abc import Awaitable, Callable

from protocol.errors import ServiceError
from protocol.messages import Frame, Reasoning
from workers.attempts import Try

Running = dict["asyncio.Task[Frame | None]", Try]


class Race:
    """`hedge` starts the second request, or not; `failed` is told of each that fails; `hear` listens to the winner to
    its end, from the frame on that came already.
    """

    def __init__(
        self,
        hedge: Callable[[], Try | None],
        failed: Callable[[Try, ServiceError], None],
        hear: Callable[[Try, Frame], Awaitable[None]],
    ) -> None:
        self._hedge = hedge
        self._failed = failed
        self._hear = hear

    async def run(self, one: Try, after_s: float) -> Try:
        """The one that won, once it has come to its end; where both have failed, the first. Where one fails, the other
        simply goes on.
        """
        running: Running = {self._start(one): one}
        closing: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait(running, timeout=after_s)
            if not any(task.done() for task in running) and (hedge := self._hedge()) is not None:
                running[self._start(hedge)] = hedge
            winner = await _winner(running)
            if winner is None:
                return one
            one, frame = winner
            for task, other in running.items():
                if other is not one and not other.ended:
                    other.outrun(one, after_s)
                    closing.append(_close(task, other))
            await self._hear(one, frame)
            return one
        finally:
            for task, started in running.items():
                if not started.ended:  # else it is closing, or closed
                    task.cancel()
            await asyncio.gather(*running, *closing, return_exceptions=True)
            for started in running.values():
                await started.frames.aclose()

    def _start(self, one: Try) -> "asyncio.Task[Frame | None]":
        return asyncio.create_task(self._first(one), name=f"first content of {one.choice.target.name}")

    async def _first(self, one: Try) -> Frame | None:
        """Its first content, or its last frame; None: it failed. What it thinks is held back."""
        try:
            async for frame in one.frames:
                if not isinstance(frame, Reasoning):
                    return frame
                one.take(frame)
        except ServiceError as error:
            self._failed(one, error)
            return None
        raise RuntimeError(f"target {one.choice.target.name} ended without a last frame")


async def _winner(running: Running) -> tuple[Try, Frame] | None:
    """Who speaks first; of two at once, who was asked first. None: nobody."""
    pending = set(running)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task, one in running.items():
            if task in done and (frame := task.result()) is not None:
                return one, frame
    return None


def _close(task: "asyncio.Task[Frame | None]", one: Try) -> "asyncio.Task[None]":
    """Close a connection without making the winner wait for that."""
    task.cancel()

    async def close() -> None:
        await asyncio.wait([task])
        await one.frames.aclose()

    return asyncio.create_task(close(), name="close")
