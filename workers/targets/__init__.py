"""Where answers come from: one method, and one file per dialect behind it."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from protocol.messages import Frame, Job


class Target(Protocol):
    """One upstream."""

    name: str

    def stream(self, job: Job, *, headers: Mapping[str, str]) -> AsyncIterator[Frame]:
        """The answer as frames: content, reasoning, whole tool calls, and one `Finished` as the last.

        `headers` carry the trace context and go with the upstream request. Closing the iterator, or
        cancelling the task that reads it, closes the upstream connection before control returns.

        Raises:
            ServiceError: the upstream refused, failed, answered nonsense or nothing, or was too slow.
        """
        ...
