"""The spans of one trace, read from the line's traces file (OTLP JSON lines), and drawn as a tree of bars.

Source: OTLP specification, JSON encoding: ids in hex, times as text.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from protocol import telemetry

TAIL_BYTES = 64 * 1024 * 1024  # of the file's end, hours of a busy line: nobody looks for an older turn here
ERROR = 2  # a span's status code
SERVICE = "service.name"
LEAST_BAR, MOST_BAR = 10, 40  # columns
BESIDE = 26  # columns for process, duration and what is between
FULL, FULL_ASCII = "█", "#"
SHOWN = {  # what the root says of its turn, and how it is told
    telemetry.OUTCOME: "outcome",
    telemetry.TTFT_MS: "first content",
    telemetry.QUEUE_MS: "queue",
    telemetry.OVERHEAD_MS: "overhead",
    telemetry.MAX_GAP_MS: "longest gap",
    telemetry.CANCEL_MS: "cancel",
    telemetry.OFFERS: "offers",
    telemetry.WORKER: "worker",
    telemetry.ERROR_TYPE: "error",
}

Value = str | int | float | bool


class Span(Struct, frozen=True, kw_only=True):
    """One bar. Times in nanoseconds since 1970, by the clock of the process that wrote it."""

    span_id: str
    parent_id: str
    name: str
    service: str
    start_ns: int
    end_ns: int
    failed: bool = False
    attributes: dict[str, Value] = {}


class Branch(Struct, frozen=True):
    """A span in its tree. `guide`: the lines before its name."""

    span: Span
    guide: str


# --- the file --------------------------------------------------------------------------------------


class _Value(Struct, frozen=True, rename="camel"):
    string_value: str | None = None
    int_value: str | int | None = None
    double_value: float | None = None
    bool_value: bool | None = None


class _Attribute(Struct, frozen=True):
    key: str
    value: _Value = _Value()


class _Status(Struct, frozen=True):
    code: int = 0


class _Span(Struct, frozen=True, rename="camel"):
    trace_id: str
    span_id: str
    name: str
    start_time_unix_nano: str
    end_time_unix_nano: str
    parent_span_id: str = ""
    attributes: tuple[_Attribute, ...] = ()
    status: _Status = _Status()


class _Scope(Struct, frozen=True):
    spans: tuple[_Span, ...] = ()


class _Resource(Struct, frozen=True):
    attributes: tuple[_Attribute, ...] = ()


class _ResourceSpans(Struct, frozen=True, rename="camel"):
    resource: _Resource = _Resource()
    scope_spans: tuple[_Scope, ...] = ()


class _Line(Struct, frozen=True, rename="camel"):
    resource_spans: tuple[_ResourceSpans, ...] = ()


_decode = msgspec.json.Decoder(_Line).decode


def read(path: Path, trace_id: str) -> list[Span]:
    """The spans of one trace that are in the file so far. Raises OSError."""
    return spans_of(_tail(path), trace_id)


def spans_of(lines: Iterable[bytes], trace_id: str) -> list[Span]:
    """The spans of one trace. A line that is none, or a half one, is passed over."""
    wanted, found = trace_id.encode(), []
    for line in lines:
        if wanted not in line:
            continue
        try:
            decoded = _decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        for resource in decoded.resource_spans:
            service = str(_attributes(resource.resource.attributes).get(SERVICE, ""))
            spans = [span for scope in resource.scope_spans for span in scope.spans if span.trace_id == trace_id]
            found += [_span(span, service) for span in spans]
    return found


def _tail(path: Path) -> Iterator[bytes]:
    """The last lines of a file; the first of them may be cut."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        yield from file


def _span(span: _Span, service: str) -> Span:
    return Span(
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        name=span.name,
        service=service.removeprefix("trunkline-"),
        start_ns=int(span.start_time_unix_nano),
        end_ns=int(span.end_time_unix_nano),
        failed=span.status.code == ERROR,
        attributes=_attributes(span.attributes),
    )


def _attributes(attributes: Iterable[_Attribute]) -> dict[str, Value]:
    """Lists and maps are left out: nothing here shows them."""
    told = ((attribute.key, _plain(attribute.value)) for attribute in attributes)
    return {key: value for key, value in told if value is not None}


def _plain(value: _Value) -> Value | None:
    if value.int_value is not None:
        return int(value.int_value)  # JSON has no 64 bits: OTLP writes them as text
    said = (value.string_value, value.double_value, value.bool_value)
    return next((one for one in said if one is not None), None)


# --- the tree --------------------------------------------------------------------------------------


def is_whole(spans: list[Span]) -> bool:
    """Whether the turn is all there: its root, no span without its parent, and of every offer its worker's side.

    Processes write a few seconds apart. An offer that no worker ever answered stays without.
    """
    roots = _roots(spans)
    if len(roots) != 1 or telemetry.HTTP_STATUS not in roots[0].attributes:
        return False
    parents = {span.parent_id for span in spans}
    sent = [span for span in spans if span.name.startswith(telemetry.span_send(""))]
    return all(offer.span_id in parents for offer in sent)


def tree(spans: list[Span]) -> list[Branch]:
    """Every span under its parent, in order of time. What has no parent here is a root."""
    children: dict[str, list[Span]] = {}
    for span in spans:
        children.setdefault(span.parent_id, []).append(span)

    def grow(siblings: list[Span], indent: str) -> Iterator[Branch]:
        ordered = sorted(siblings, key=_began)
        for span in ordered:
            last = span is ordered[-1]
            yield Branch(span, f"{indent}{'└─ ' if last else '├─ '}")
            yield from grow(children.get(span.span_id, []), f"{indent}{'   ' if last else '│  '}")

    branches: list[Branch] = []
    for root in sorted(_roots(spans), key=_began):
        branches += [Branch(root, ""), *grow(children.get(root.span_id, []), "")]
    return branches


def bar(start: float, end: float, *, width: int, full: str = FULL) -> str:
    """A bar from `start` to `end`, both shares of the whole from 0 to 1; never invisible."""
    first = min(max(0, int(start * width)), width - 1)
    last = min(max(first + 1, round(end * width)), width)
    return (" " * first + full * (last - first)).ljust(width)


def draw(spans: list[Span], *, width: int, ascii_only: bool = False) -> Table:
    """The trace for a terminal of `width` columns: each span's name, process, duration and bar."""
    branches = tree(spans)
    longest = max(len(branch.guide) + len(branch.span.name) for branch in branches)
    bars = min(max(LEAST_BAR, width - longest - BESIDE), MOST_BAR)
    start, end = min(span.start_ns for span in spans), max(span.end_ns for span in spans)
    whole = max(1, end - start)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for branch in branches:
        span = branch.span
        shares = (span.start_ns - start) / whole, (span.end_ns - start) / whole
        colour = "red" if span.failed else "cyan" if span.service == "worker" else "green"
        table.add_row(
            Text.assemble((_guide(branch.guide, ascii_only), "dim"), span.name),
            span.service,
            f"{(span.end_ns - span.start_ns) / 1e6:,.1f} ms",
            Text(bar(*shares, width=bars, full=FULL_ASCII if ascii_only else FULL), colour),
        )
    return table


def summary(spans: list[Span]) -> list[str]:
    """What the root says of the turn: `outcome completed`, `queue 0.6 ms`, …"""
    said = next((span.attributes for span in _roots(spans) if telemetry.OUTCOME in span.attributes), {})
    barge_in = said.get(telemetry.OUTCOME) == "interrupted"  # an outcome, not an error
    names = [name for name in SHOWN if name in said and not (barge_in and name == telemetry.ERROR_TYPE)]
    return [f"{SHOWN[name]} {_shown(name, said[name])}" for name in names]


def _roots(spans: list[Span]) -> list[Span]:
    known = {span.span_id for span in spans}
    return [span for span in spans if span.parent_id not in known]


def _began(span: Span) -> tuple[int, int]:
    return span.start_ns, span.end_ns


def _guide(guide: str, ascii_only: bool) -> str:
    return guide.replace("├─", "|-").replace("└─", "`-").replace("│", "|") if ascii_only else guide


def _shown(name: str, value: Value) -> str:
    return f"{value:,.1f} ms" if name.endswith("_ms") and isinstance(value, int | float) else str(value)
