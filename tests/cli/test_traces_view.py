"""The spans of one trace: found in a file of many, put into a tree, drawn."""

import io
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from rich.console import Console

from protocol import telemetry
from protocol.spans import Encoded, Spans
from protocol.telemetry import OtlpFile
from trunkline import traces
from trunkline.traces import Span, Value

MS = 1_000_000
START = 1_700_000_000 * 1000 * MS


def span(
    name: str,
    parent: str = "",
    *,
    start: float = 0,
    end: float = 100,
    tier: str = "edge",
    said: dict[str, Value] | None = None,
) -> Span:
    """A span with its name as its id; times in milliseconds."""
    return Span(
        span_id=name,
        parent_id=parent,
        name=name,
        service=tier,
        start_ns=START + int(start * MS),
        end_ns=START + int(end * MS),
        attributes=said or {},
    )


ROOT = span("POST /v1/chat/completions", said={telemetry.HTTP_STATUS: 200, telemetry.OUTCOME: "completed"})
TURN = [
    span("chat echo", "process job.default", start=12, end=98, tier="worker"),
    span("stream", ROOT.name, start=50, end=100),
    span("process job.default", "send job.default", start=11, end=99, tier="worker"),
    span("wait first_content", ROOT.name, start=10, end=50),
    span("admit", ROOT.name, start=0, end=1),
    ROOT,
    span("send job.default", ROOT.name, start=10, end=12),
]


def drawn(spans: list[Span], *, width: int = 80, ascii_only: bool = False) -> list[str]:
    """As a terminal without colours shows it."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(traces.draw(spans, width=width, ascii_only=ascii_only))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_turn_is_drawn_as_a_tree_of_bars() -> None:
    assert drawn(TURN, width=71) == [
        "POST /v1/chat/completions  edge    100.0 ms  ████████████████████",
        "├─ admit                   edge      1.0 ms  █",
        "├─ send job.default        edge      2.0 ms    █",
        "│  └─ process job.default  worker   88.0 ms    ██████████████████",
        "│     └─ chat echo         worker   86.0 ms    ██████████████████",
        "├─ wait first_content      edge     40.0 ms    ████████",
        "└─ stream                  edge     50.0 ms            ██████████",
    ]


def test_a_terminal_without_line_drawing_gets_ascii() -> None:
    picture = drawn(TURN, width=71, ascii_only=True)

    assert picture[4:] == [
        "|     `- chat echo         worker   86.0 ms    ##################",
        "|- wait first_content      edge     40.0 ms    ########",
        "`- stream                  edge     50.0 ms            ##########",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, drawn(TURN, width=width))) <= width


@pytest.mark.parametrize(
    ("start", "end", "bar"),
    [
        (0, 1, "##########"),
        (0, 0, "#"),
        (1, 1, "         #"),
        (0.5, 0.52, "     #"),
        (0.9, 2, "         #"),
        (-1, 0, "#"),
    ],
)
def test_a_bar_lies_within_its_width_and_is_never_invisible(start: float, end: float, bar: str) -> None:
    assert traces.bar(start, end, width=10, full="#") == bar.ljust(10)


def test_a_span_without_its_parent_is_a_root_and_the_turn_is_not_whole() -> None:
    """Each process writes its own, a few seconds apart."""
    without_root = [one for one in TURN if one is not ROOT]

    assert [branch.guide for branch in traces.tree(without_root)][:2] == ["", ""]
    assert not traces.is_whole(without_root)
    assert not traces.is_whole([])


@pytest.mark.parametrize("missing", [ROOT.name, "process job.default", "send job.default"])
def test_a_turn_is_whole_when_both_tiers_have_written(missing: str) -> None:
    assert traces.is_whole(TURN)
    assert not traces.is_whole([one for one in TURN if one.name != missing])


def test_the_root_tells_how_the_turn_was() -> None:
    said: dict[str, Value] = {telemetry.OUTCOME: "interrupted", telemetry.TTFT_MS: 312.04, telemetry.CANCEL_MS: 1.5}
    root = span("POST", said={**said, telemetry.WORKER: "w1", telemetry.ERROR_TYPE: "interrupted"})

    assert traces.summary([root]) == ["outcome interrupted", "first content 312.0 ms", "cancel 1.5 ms", "worker w1"]


def test_one_trace_is_read_from_what_the_line_writes(tmp_path: Path) -> None:
    """The file as the processes' own exporter makes it, with other traces, and a line that is cut."""
    file = tmp_path / "traces.jsonl"
    exporter = OtlpFile(str(file), {"service.name": "trunkline-edge"})
    ended: list[Encoded] = []
    spans = Spans(ended.append, encode=exporter.encode)
    for _ in range(3):
        root = spans.start(
            "root",
            Context(),
            kind=SpanKind.SERVER,
            attributes={"text": "a", "number": 7, "share": 0.5, "yes": True, "list": ("1",)},
        )
        child = root.child("child")
        child.fail(None)
        child.end()
        root.end()
    exporter.export(ended)
    exporter.shutdown()
    wanted = root.trace_id
    with file.open("ab") as more:
        more.write(b'{"resourceSpans": [' + wanted.encode())

    child_read, root_read = traces.read(file, wanted)

    assert (root_read.name, root_read.service, root_read.parent_id, root_read.failed) == ("root", "edge", "", False)
    assert root_read.attributes == {"text": "a", "number": 7, "share": 0.5, "yes": True}
    assert (child_read.name, child_read.parent_id, child_read.failed) == ("child", root_read.span_id, True)
    assert child_read.start_ns >= root_read.start_ns > START
    assert traces.read(file, "0" * 32) == []


def test_of_a_long_file_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line names the trace; the first to be seen begins in its middle."""
    line = (
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"abc","spanId":"%d","name":"x",'
        '"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}\n'
    )
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(line % number for number in range(10)))
    monkeypatch.setattr(traces, "TAIL_BYTES", int(len(line) * 2.5))

    assert [one.span_id for one in traces.read(file, "abc")] == ["8", "9"]
