"""Figures in, lines out: for a terminal of any size, and as plain text. Pure, except that times of day are local."""

from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console, ConsoleRenderable, Group
from rich.text import Text

from protocol.messages import Outcome
from trunkline.top.figures import Figures, Spread
from trunkline.top.seen import NO_ERROR
from trunkline.top.tables import ANY_WIDTH, UNKNOWN, milliseconds, plain, sections, table, whole_table

ROOMY = 20  # lines from which on sections stand apart
GAP = "   "  # between two figures
TEXT_WIDTH = 80  # of the figures, where there is no terminal
STYLES: dict[Outcome, str] = {"completed": "green", "interrupted": "cyan"}  # the others are failures
KEYS = "q quit   p pause   h help"
HELP = """
q, Ctrl-C   leave
p           pause: the figures stand still; again: they go on
h, ?        this help; again: back

live        claims that run, of the slots of all workers that are heard
queued      jobs that wait for a free slot, in the JOBS streams
first       request to first content, of the turns that ended in the window
cancel      hang-up to upstream closed: how fast a barge-in stops the model
interrupted the caller hung up or spoke; no error
breakers    open: targets that fail, and how many workers pass them over
silent      a worker that was not heard for 3 s; left: after a drain
"""


def screen(figures: Figures, *, width: int, height: int, paused: bool = False, helping: bool = False) -> Group:
    """A terminal full."""
    top = [*_title(figures, paused=paused), *_head(figures, width, brief=height < ROOMY)]
    if helping:
        return Group(
            *top, Text(HELP if height >= ROOMY else HELP.partition("\n\n")[0], no_wrap=True, overflow="ellipsis")
        )
    found = sections(figures)
    gap = [Text("")] if height >= ROOMY else []
    rooms = shares(height - len(top) - len(found) * len(gap), [section.lines for section in found])
    lines: list[ConsoleRenderable] = list(top)
    for section, room in zip(found, rooms, strict=True):
        if room:
            lines += [*gap, table(section, width=width, lines=room)]
    return Group(*lines)


def text(figures: Figures) -> str:
    """All of it, without any escape code."""
    console = Console(file=StringIO(), width=ANY_WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(Text(f"Trunkline  {figures.at:%Y-%m-%d %H:%M:%S}  {plain(figures.nats)}"))
        console.print(*_head(figures, TEXT_WIDTH, brief=False), sep="\n")
        for section in sections(figures):
            console.print()
            console.print(whole_table(section))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def shares(room: int, wants: Sequence[int]) -> list[int]:
    """So many lines for each section: first a heading and one line for each in turn, then the rest line by line."""
    got = [0] * len(wants)
    for number, want in enumerate(wants):
        got[number] = min(want, 2) if room >= min(want, 2) else 0
        room -= got[number]
    while room > 0 and (short := [n for n, want in enumerate(wants) if 0 < got[n] < want]):
        for number in short[:room]:
            got[number] += 1
        room -= len(short)
    return got


def packed(figures: Iterable[Text], width: int) -> list[Text]:
    """Figures in as few lines as they fit into, none of them broken."""
    lines: list[Text] = []
    for figure in figures:
        figure = Text.assemble(figure, no_wrap=True, overflow="ellipsis")
        if lines and lines[-1].cell_len + len(GAP) + figure.cell_len <= width:
            lines[-1].append(GAP).append_text(figure)
        else:
            lines.append(figure)
    return lines


def _title(figures: Figures, *, paused: bool) -> list[Text]:
    said = [_line(f"Trunkline  {figures.at:%H:%M:%S}   {KEYS}   {plain(figures.nats)}", "bold")]
    if paused:
        said.append(_line("paused; p goes on", "bold yellow"))
    return said


def _head(figures: Figures, width: int, *, brief: bool) -> list[Text]:
    said = [] if figures.away_s is None else [_line(_away(figures.away_s), "bold red")]
    groups = [_load(figures), _times(figures), _outcomes(figures)]
    if brief:
        groups = [[*_load(figures)[:3], *_times(figures)[:1], _failed(figures)]]
    groups.append(_open(figures))
    return [*said, *(line for group in groups for line in packed(group, width))]


def _away(away_s: float) -> str:
    return f"NATS is away for {away_s:.0f} s; the figures are from before"


def _load(figures: Figures) -> list[Text]:
    return [
        _figure("live", f"{figures.live}/{figures.slots}"),
        _figure("queued", _queued(figures.queued)),
        _figure("turns/s", f"{figures.turns_per_s:.1f}"),
        _figure("tokens/s", f"{figures.tokens_per_s:.0f}"),
    ]


def _queued(depths: dict[str, int] | None) -> str:
    if depths is None:
        return UNKNOWN
    waiting = {pool: depth for pool, depth in depths.items() if depth}
    by_pool = " ".join(f"{plain(pool)}:{depth}" for pool, depth in waiting.items())
    return f"{sum(waiting.values())} ({by_pool})" if len(depths) > 1 and waiting else str(sum(waiting.values()))


def _times(figures: Figures) -> list[Text]:
    return [_figure("first content", _spread(figures.first_content)), _figure("cancel", _spread(figures.cancel))]


def _spread(times: Spread) -> str:
    return f"p50 {milliseconds(times.p50_ms)}  p95 {milliseconds(times.p95_ms)}"


def _outcomes(figures: Figures) -> list[Text]:
    """The first two always, a failure only where there was one."""
    said = [_figure("turns", f"{figures.turns} in {figures.window_s:.0f} s")]
    for outcome, count in figures.outcomes.items():
        if count or outcome in STYLES:
            said.append(_figure(outcome, str(count), STYLES.get(outcome, "bold red")))
    return said


def _open(figures: Figures) -> list[Text]:
    """Targets that workers pass over now, with how many of them do; nothing where none is."""
    counted = Counter(target for worker in figures.workers if worker.state == "up" for target in worker.open)
    said = ", ".join(f"{plain(target)} ({count})" for target, count in sorted(counted.items()))
    return [_figure("open breakers", said, "bold red")] if said else []


def _failed(figures: Figures) -> Text:
    failed = sum(count for outcome, count in figures.outcomes.items() if outcome not in NO_ERROR)
    return _figure("failed", f"{failed}/{figures.turns}", "bold red" if failed else "bold")


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _figure(name: str, value: str, style: str = "bold") -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, style))
