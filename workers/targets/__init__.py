"""Where answers come from: one method, and one file per dialect behind it."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple, Protocol

from protocol.messages import Frame, Job, Usage


def _unheard(_: Usage) -> None:
    """Nobody asks."""


NOTHING = Usage()
"""What a request has cost that was never sent, or was refused. This very object: an upstream may tell zeros of one that
it has worked for.
"""


class Patience(NamedTuple):
    """How long one target is waited for: seconds from its request. Its own timers are its settings'.

    `last`: no other target is left, so `connect_s` and `first_content_s` make room for none and do not apply.
    `told` hears what an answer without a last frame has cost, as far as the upstream had said it by then, or `NOTHING`.
    """

    budget_s: float  # to the first content
    total_s: float  # to the last frame
    last: bool = True
    told: Callable[[Usage], None] = _unheard


class Target(Protocol):
    """One upstream."""

    name: str

    def takes(self, job: Job) -> bool:
        """Whether the job can be said in its dialect. Known without asking the upstream."""
        ...

    def stream(self, job: Job, *, headers: Mapping[str, str], patience: Patience) -> AsyncIterator[Frame]:
        """The answer as frames: content, reasoning, whole tool calls, and one `Finished` as the last.

        `headers` carry the trace context and go with the upstream request. Closing the iterator, or
        cancelling the task that reads it, closes the upstream connection before control returns.

        Raises:
            ServiceError: the upstream refused, failed, answered nonsense or nothing, or was too slow; or the job
                cannot be said in its dialect, which is known before anything is sent.
        """
        ...
