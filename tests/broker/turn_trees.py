"""One turn as its client saw it, and what its trace has to look like then."""

import time
from typing import Any, Self

from bench.client import Answer, Call
from protocol import telemetry
from tests.broker.otlp_sink import Tree

SLACK_S = 0.05  # between two processes' clocks, as they are paired at their start

WHOLE = [
    "CLIENT chat {model} < process job.default",
    "CONSUMER process job.default < send job.default",
    "INTERNAL admit < POST /v1/chat/completions",
    "INTERNAL stream < POST /v1/chat/completions",
    "INTERNAL wait first_content < POST /v1/chat/completions",
    "PRODUCER send job.default < POST /v1/chat/completions",
    "SERVER POST /v1/chat/completions",
]
"""The tree of a turn that was answered at the first try."""


def whole(model: str) -> list[str]:
    return [line.format(model=model) for line in WHOLE]


def without(shape: list[str], *beginnings: str) -> list[str]:
    """A tree without some of its spans."""
    return [line for line in shape if not line.startswith(beginnings)]


def unheard(model: str) -> list[str]:
    """The tree of a turn of which nothing was heard."""
    return without(whole(model), "INTERNAL stream")


class Turn:
    """One turn as its client saw it. Times in seconds since 1970."""

    def __init__(self, answer: Answer) -> None:
        wall = time.time() - time.monotonic()
        self.answer = answer
        self.trace_id = answer.headers.get("x-trace-id", "")
        self.started = wall + answer.started
        self.first = wall + answer.first_at if answer.first_at else None
        self.ended = wall + (answer.ended_at or answer.hung_up_at or 0)

    @classmethod
    async def taken(cls, url: str, told: dict[str, Any], headers: dict[str, str] | None = None) -> Self:
        """A whole turn."""
        return cls(await (await Call.place(url, told, headers=headers)).ended())


def agrees(tree: Tree, turn: Turn) -> None:
    """Every span lies within its parent, and the root within what the client saw; phases follow one another."""
    root = tree.one("POST")
    assert turn.started - SLACK_S <= root.start
    assert root.end <= turn.ended + SLACK_S
    nests(tree)
    admit, wait, streams = tree.one("admit"), tree.one("wait"), tree.named("stream")
    assert admit.start == root.start
    assert admit.end <= tree.named("send")[0].start == wait.start
    for stream in streams:
        assert wait.end == stream.start
        assert stream.end == root.end
        assert turn.first is not None
        assert stream.start <= turn.first + SLACK_S
        ttft_s = root.attributes[telemetry.TTFT_MS] / 1000
        assert abs(stream.start - root.start - ttft_s) < 0.001
        assert ttft_s <= turn.first - turn.started + SLACK_S


def nests(tree: Tree) -> None:
    """Every span lies within its parent; below a `send`, which ends at the publish ack, it begins after it."""
    for span in tree.spans:
        assert span.start <= span.end
        for child in tree.children(span):
            if span.kind != "PRODUCER":  # its worker goes on
                assert span.holds(child, SLACK_S), (span.name, child.name)
            else:
                assert span.start - SLACK_S <= child.start
