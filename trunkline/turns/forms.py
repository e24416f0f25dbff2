"""A record as a line: for people, for programs, for spreadsheets. Pure, except that times of day are local."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from protocol import codec
from protocol.messages import Attempt, TurnRecord
from trunkline.top.tables import UNKNOWN, milliseconds, plain
from trunkline.top.view import STYLES
from trunkline.turns.summary import money

GAP = "  "
FAILED = "red"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute a cell that begins so


class Column(NamedTuple):
    """One column of the table. `from_width`: narrower terminals do without it. What is longer than `width` is cut."""

    name: str
    cell: Callable[[TurnRecord], str]
    width: int
    from_width: int = 0
    justify: Literal["left", "right"] = "left"


def columns_for(width: int | None) -> list[Column]:
    """Those that a terminal of so many characters has room for; None: all of them."""
    return [column for column in COLUMNS if width is None or width >= column.from_width]


def heading(columns: Sequence[Column]) -> Text:
    """The names, above their columns."""
    return _joined([(column, Text(column.name, "bold")) for column in columns], cut=True)


def row(record: TurnRecord, columns: Sequence[Column], *, cut: bool) -> Text:
    """One record. `cut`: to the widths of its columns; else every cell is whole."""
    cells = [(column, Text(plain(column.cell(record)), _style(column, record))) for column in columns]
    return _joined(cells, cut=cut)


def json_line(record: TurnRecord) -> str:
    """The record as the stream keeps it: what has its default is left out."""
    return codec.encode_record(record).decode()


def csv_heading() -> str:
    """The names of the fields."""
    return _csv(FIELDS)


def csv_line(record: TurnRecord) -> str:
    """One record in one line; nothing is an empty cell."""
    return _csv(field(record) for field in FIELDS.values())


def _joined(cells: Iterable[tuple[Column, Text]], *, cut: bool) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for column, cell in cells:
        if line:
            line.append(GAP)
        line.append_text(_fitted(cell, column, cut=cut))
    line.rstrip()
    return line


def _fitted(cell: Text, column: Column, *, cut: bool) -> Text:
    text = cell.plain
    if cut and cell_len(text) > column.width:
        text = set_cell_size(text, column.width - 1) + "…"
    space = " " * (column.width - cell_len(text))
    return Text(space + text if column.justify == "right" else text + space, cell.style)


def _style(column: Column, record: TurnRecord) -> str:
    return STYLES.get(record.outcome, FAILED) if column.name == "outcome" else ""


def _csv(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([_safe(cell) for cell in cells])
    return line.getvalue()


def _safe(cell: object) -> object:
    """A caller's text is never a formula; a number stays one."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


# --- cells -----------------------------------------------------------------------------------------


def _started(record: TurnRecord) -> str:
    """The time of day, and the day when it was another."""
    try:
        at = datetime.fromisoformat(record.started_at).astimezone()
    except (ValueError, OverflowError):
        return UNKNOWN
    today = at.date() == datetime.now().astimezone().date()
    return at.strftime("%H:%M:%S" if today else "%m-%d %H:%M")


def _target(record: TurnRecord) -> str:
    more = f" ({len(record.attempts)})" if len(record.attempts) > 1 else ""
    return f"{record.target or UNKNOWN}{more}"


def _tokens(record: TurnRecord) -> str:
    usage = record.usage
    return f"{'~' if usage.estimated else ''}{usage.prompt}+{usage.completion}"


def _cost(record: TurnRecord) -> str:
    return UNKNOWN if record.cost is None else money(record.cost)


def _heard(record: TurnRecord) -> str:
    return f"{record.heard.heard_words} of {record.heard.said_words}" if record.heard else ""


def _tried(attempts: Iterable[Attempt]) -> str:
    return " ".join(f"{attempt.target}:{attempt.reason or attempt.outcome}" for attempt in attempts)


COLUMNS = (
    Column("started", _started, 11),
    Column("outcome", lambda record: record.outcome, 14),
    Column("first", lambda record: milliseconds(record.ttft_ms), 8, justify="right"),
    Column("total", lambda record: milliseconds(record.total_ms), 8, 50, "right"),
    Column("model", lambda record: record.model, 16, 66),
    Column("tokens", _tokens, 10, 78, "right"),
    Column("target", _target, 16, 96),
    Column("cost", _cost, 8, 106, "right"),
    Column("error", lambda record: record.error or "", 20, 128),
    Column("call", lambda record: record.call_id or "", 16, 146),
    Column("heard", _heard, 10, 158, "right"),
    Column("trace", lambda record: record.trace_id or UNKNOWN, 32, 192),
    Column("profile", lambda record: record.profile, 10, 204),
)
FIELDS: dict[str, Callable[[TurnRecord], object]] = {
    "started_at": lambda record: record.started_at,
    "id": lambda record: record.id,
    "call_id": lambda record: record.call_id,
    "trace_id": lambda record: record.trace_id,
    "tenant": lambda record: record.tenant,
    "model": lambda record: record.model,
    "outcome": lambda record: record.outcome,
    "error": lambda record: record.error,
    "finish_reason": lambda record: record.finish_reason,
    "worker": lambda record: record.worker,
    "target": lambda record: record.target,
    "tried": lambda record: _tried(record.attempts),
    "offers": lambda record: record.offers,
    "queue_ms": lambda record: record.queue_ms,
    "ttft_ms": lambda record: record.ttft_ms,
    "overhead_ms": lambda record: record.overhead_ms,
    "max_gap_ms": lambda record: record.max_gap_ms,
    "cancel_ms": lambda record: record.cancel_ms,
    "total_ms": lambda record: record.total_ms,
    "prompt_tokens": lambda record: record.usage.prompt,
    "cached_tokens": lambda record: record.usage.cached,
    "completion_tokens": lambda record: record.usage.completion,
    "reasoning_tokens": lambda record: record.usage.reasoning,
    "estimated": lambda record: record.usage.estimated,
    "cost": lambda record: record.cost,
    "profile": lambda record: record.profile,
    "language": lambda record: record.language,
    "spoken_by_edge": lambda record: len(record.spoken_by_edge),
    "withheld": lambda record: " ".join(f"{withheld.tool}:{withheld.reason}" for withheld in record.withheld),
    "leaked": lambda record: record.leaked,
    "unheard_tokens": lambda record: record.unheard,
    "unheard_cost": lambda record: record.unheard_cost,
    "said_words": lambda record: record.heard.said_words if record.heard else None,
    "heard_words": lambda record: record.heard.heard_words if record.heard else None,
}
