"""The tables of the view: what each column shows, and from which width on there is room for it. Pure."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trunkline.top.figures import EdgeRow, ErrorRow, Figures, ModelRow, WorkerRow

UNKNOWN = "-"
BAR_WIDTH = 10
ANY_WIDTH = 1000
STYLES = {
    "up": "green",
    "ready": "green",
    "draining": "yellow",
    "not ready": "yellow",
    "left": "dim",
    "silent": "bold red",
    "unreachable": "bold red",
    "no edge": "bold red",
}
Cell = Text | ProgressBar


class Column(NamedTuple):
    """One column. `from_width`: narrower terminals do without it."""

    name: str
    cell: Callable[[Any], Cell]
    from_width: int = 0
    justify: Literal["left", "right"] = "left"
    room: Literal["own", "cut", "rest"] = "own"  # `cut`: the first to be cut; `rest`: it takes what is left, too


class Section(NamedTuple):
    """One table. `empty`: the sentence in its place while it has no row."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    empty: str = ""

    @property
    def lines(self) -> int:
        """How many it takes in full: a heading, then its rows."""
        return 1 + len(self.rows)


def plain(text: object) -> str:
    """What came over the bus, fit for a terminal: a model's name is a caller's text and may hold control characters."""
    return "".join(char if char.isprintable() else "?" for char in str(text))


def milliseconds(value: float | None) -> str:
    """A time as people read it."""
    if value is None:
        return UNKNOWN
    if value < 9.95:
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 9999.5 else f"{value / 1000:.1f} s"


def sections(figures: Figures) -> list[Section]:
    """The tables that have something to say, what matters most first."""
    workers = Section(f"WORKERS {len(figures.workers)}", WORKERS, figures.workers, _no_worker(figures))
    found = [workers, Section("LAST ERRORS", ERRORS, figures.errors, "none")]
    if figures.edges:
        found.append(Section(f"EDGES {len(figures.edges)}", EDGES, figures.edges))
    if figures.models:
        found.append(Section(f"MODELS {len(figures.models)}", MODELS, figures.models))
    return found


def table(section: Section, *, width: int, lines: int) -> Table | Text:
    """The section in so many lines, its heading included; where there is room, the last one counts what is missing."""
    if not section.rows:
        return Text.assemble((section.title, "bold"), "  ", (section.empty, "dim"), no_wrap=True, overflow="ellipsis")
    columns = [column for column in section.columns if width >= column.from_width]
    drawn = _empty_table(section.title, columns)
    room = lines - 1
    shown = section.rows[:room] if len(section.rows) <= room or room <= 2 else section.rows[: room - 1]
    for row in shown:
        drawn.add_row(*(column.cell(row) for column in columns))
    if len(shown) < min(room, len(section.rows)):
        drawn.add_row(_text(f"{len(section.rows) - len(shown)} more", "dim"))
    return drawn


def whole_table(section: Section) -> Table | Text:
    """The section as it is printed: every row, nothing cut, no bars."""
    columns = [column._replace(room="own") for column in section.columns if column.cell is not _load]
    return table(section._replace(columns=columns), width=ANY_WIDTH, lines=section.lines)


def _empty_table(title: str, columns: Sequence[Column]) -> Table:
    """Its heading: the title over the first column, the others' names beside it."""
    rest = any(column.room == "rest" for column in columns)
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=rest)
    for number, column in enumerate(columns):
        drawn.add_column(
            _text(column.name if number else title),
            justify=column.justify,
            no_wrap=column.room == "own",  # rich cuts the others first; that none is wrapped, its cells say themselves
            ratio=1 if column.room == "rest" else None,
        )
    return drawn


def _no_worker(figures: Figures) -> str:
    if figures.listening:
        return "listening"
    return "none is heard; start one with `trunkline worker`"


def _text(text: object, style: str = "") -> Text:
    return Text(plain(text), style, no_wrap=True, overflow="ellipsis")


def _count(value: int | None) -> Text:
    return _text(UNKNOWN if value is None else value)


def _state(row: WorkerRow | EdgeRow) -> Text:
    return _text(row.state, STYLES[row.state])


def _load(row: WorkerRow) -> Cell:
    if row.state in ("silent", "left"):
        return _text("")
    return ProgressBar(total=max(row.slots, 1), completed=row.busy, width=BAR_WIDTH)


def _failed(row: ModelRow) -> Text:
    return _text(row.failed, "bold red" if row.failed else "")


def _when(row: ErrorRow) -> Text:
    """The time of day, or the day when it was another."""
    if row.ended_at is None:
        return _text(UNKNOWN)
    today = row.ended_at.date() == datetime.now().astimezone().date()
    return _text(row.ended_at.strftime("%H:%M:%S" if today else "%d %b"))


WORKERS = (
    Column("worker", lambda row: _text(row.id)),
    Column("state", _state),
    Column("busy", lambda row: _text(f"{row.busy}/{row.slots}"), justify="right"),
    Column("load", _load, from_width=60),
    Column("heard", lambda row: _text(f"{row.heard_s:.0f} s"), from_width=50, justify="right"),
    Column("pools", lambda row: _text(",".join(row.pools)), from_width=60, room="cut"),
    Column("models", lambda row: _text(", ".join(row.models), "dim"), from_width=70, room="rest"),
)
ERRORS = (
    Column("when", _when),
    Column("outcome", lambda row: _text(row.outcome, "red")),
    Column("error", lambda row: _text(row.error or UNKNOWN), from_width=100),
    Column("model", lambda row: _text(row.model), from_width=40, room="rest"),
    Column("trace", lambda row: _text(row.trace_id or UNKNOWN), from_width=76),
)
EDGES = (
    Column("edge", lambda row: _text(row.url), room="cut"),
    Column("state", _state),
    Column("live", lambda row: _count(row.live), justify="right"),
    Column("waiting", lambda row: _count(row.waiting), from_width=60, justify="right"),
    Column("turns", lambda row: _count(row.turns), from_width=70, justify="right"),
)
MODELS = (
    Column("model", lambda row: _text(row.name), room="cut"),
    Column("turns", lambda row: _text(row.turns), justify="right"),
    Column("failed", _failed, justify="right"),
    Column("p50", lambda row: _text(milliseconds(row.first_content.p50_ms)), from_width=50, justify="right"),
    Column("p95", lambda row: _text(milliseconds(row.first_content.p95_ms)), from_width=50, justify="right"),
)
