"""How turns are written as responses, and what a careful client makes of the events."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge.responses import ResponsesAnswer
from protocol.errors import ServiceError, from_failed
from protocol.messages import Failed, Finished, Frame
from tests.edge.contract_turns import deltas_of
from tests.edge.responses_contract import CREATED, ECHOED, ENDED, MODEL

Json = dict[str, Any]


def answer(
    *, store: bool = True, echoed: Mapping[str, object] = ECHOED, clock: Callable[[], float] = lambda: ENDED + 0.9
) -> ResponsesAnswer:
    return ResponsesAnswer(
        turn_id="turn_9f01", model=MODEL, created=CREATED, echoed=dict(echoed), store=store, clock=clock
    )


def ended(dialect: ResponsesAnswer, last: Frame | ServiceError) -> bytes:
    """The end of a stream."""
    match last:
        case Finished():
            return dialect.finish(last, usage=last.usage)
        case Failed():
            return dialect.error(from_failed(last))
        case ServiceError():
            return dialect.error(last)
    raise ValueError("a turn ends with a last frame")


def streamed(
    frames: Sequence[Frame], last: ServiceError | None = None, dialect: ResponsesAnswer | None = None
) -> bytes:
    """What the relay writes; `last`: in place of the last frame."""
    dialect = dialect or answer()
    deltas = [dialect.delta(frame) for frame in deltas_of(frames)]
    return b"".join([dialect.opening(), *deltas, ended(dialect, last or frames[-1])])


def whole(frames: Sequence[Frame], dialect: ResponsesAnswer | None = None) -> bytes:
    """The same turn as one body."""
    last = frames[-1]
    assert isinstance(last, Finished)
    return (dialect or answer()).body(deltas_of(frames), last, usage=last.usage)


def events(written: bytes) -> list[Json]:
    """Every event of a whole stream: an event line and a data line each, and the end mark. Nothing else is there."""
    *told, end, rest = written.decode().split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    found = []
    for event in told:
        name, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert (name, data[:6]) == (f"event: {found[-1]['type']}", "data: ")
    return found


class Reader:
    """Puts items together from their events alone, and finds fault with events that contradict one another."""

    def __init__(self, told: Sequence[Json]) -> None:
        self.items: list[Json] = []  # those that were closed
        self.item: Json | None = None  # the open one, as far as it was told
        self.part: Json | None = None  # its open part
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
        for event in told:
            self._take(event)

    def _take(self, event: Json) -> None:
        assert event.get("output_index", len(self.items)) == len(self.items), event
        if "item_id" in event:
            assert self.item is not None
            assert event["item_id"] == self.item["id"], event
        match event["type"].removeprefix("response.").split("."):
            case ["output_item", "added"]:
                assert self.item is None, "one item is open at a time"
                self.item = event["item"]
            case ["output_item", "done"]:
                self._item_done(event["item"])
            case ["content_part" | "reasoning_summary_part" as kind, "added"]:
                assert self.part is None, "one part is open at a time"
                assert event[_index(kind)] == len(self._parts)
                self.part = event["part"]
            case ["content_part" | "reasoning_summary_part" as kind, "done"]:
                assert event["part"] == self.part
                assert event[_index(kind)] == len(self._parts)
                self._parts.append(self.part)
                self.part = None
            case [kind, "delta"]:
                self._delta(kind, event)
            case [kind, "done"]:
                self._said(kind, event)

    @property
    def _parts(self) -> list[Any]:
        assert self.item is not None
        parts = self.item["summary" if self.item["type"] == "reasoning" else "content"]
        assert isinstance(parts, list)
        return parts

    def _delta(self, kind: str, event: Json) -> None:
        assert event["delta"]
        if kind == "function_call_arguments":
            assert self.item is not None
            self.item["arguments"] += event["delta"]
            return
        assert self.part is not None
        assert kind.startswith(self.part["type"].replace("summary_text", "reasoning_summary_text"))
        self.part["refusal" if kind == "refusal" else "text"] += event["delta"]
        if kind == "output_text":
            self.part["logprobs"] += event["logprobs"]

    def _said(self, kind: str, event: Json) -> None:
        """The event that says all of what came in pieces."""
        held = self.item if kind == "function_call_arguments" else self.part
        assert held is not None
        for key in {"text", "refusal", "arguments", "name", "logprobs"} & event.keys():
            assert event[key] == held[key], (kind, key)

    def _item_done(self, item: Json) -> None:
        assert self.item is not None
        assert self.part is None, "its parts are closed before"
        known = {key: value for key, value in self.item.items() if key != "status"}
        sealed = {key: item[key] for key in ("encrypted_content",) if key in item}
        assert {key: value for key, value in item.items() if key != "status"} == {**known, **sealed}
        self.items.append(item)
        self.item = None


def _index(kind: str) -> str:
    return "summary_index" if kind == "reasoning_summary_part" else "content_index"
