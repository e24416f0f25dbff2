"""`docs/faults.md`, from the results of all scenarios."""

from collections.abc import Iterable, Sequence

from protocol.messages import Attempt
from tests.faults.faults import FAULTS, GROUPS, Heard
from tests.faults.scenarios import Outcome, Scenario
from tests.faults.turns import Result
from tests.faults.voices import VOICES

LONGEST_SHOWN = 24
COLUMNS = ("the first target", "API", "targets", "the caller gets", "asked", "silence", "tokens billed")
MEASURED = 2  # of the columns: the last ones are of one run, the others are what the tests hold
WAYS = {"alone": "1", "next": "2", "goes on": "2, goes on"}
SAME = ""

HEAD = """\
# What a failing model costs a caller

Each row is one thing that an upstream did behind a real line (an edge, a worker, NATS, each a process of its own), in
each of the three APIs: as the only target of a model, and with a second target beside it, which is well and speaks
another API. `tests/faults` does all of it again and holds every column but the last two. This page is written by

<!-- run by tests/faults: it does the same -->
```
$ make faults
```

The timers were `first_content_s` {first_content_s}, `stall_s` {stall_s} and `connect_s` {connect_s}, the turn's budget
`turn.budget_s` {budget_s}. *Targets*: `1`, alone; `2`, with a second one; `2, goes on`, under
`turn.on_lost = "continue"`. *Asked*: requests to each target. *Silence*: the longest time in which the caller heard
nothing, in milliseconds, the worst of the APIs in the row. *Tokens billed*: prompt + answer of every attempt in the
turn's record, a range over the APIs; `~` marks what was counted here because the upstream did not say.
"""


def page(results: Iterable[Result], timers: dict[str, float]) -> str:
    """The whole page."""
    by_name = {result.scenario.name: result for result in results}
    parts = [HEAD.format(**{name: f"{seconds:g} s" for name, seconds in timers.items()})]
    for title, faults in GROUPS.items():
        rows = [row for name in faults for row in _rows(name, by_name)]
        parts.append(f"## {title}\n\n{table(rows)}\n")
    return "\n".join(parts)


def table(rows: Sequence[Sequence[str]]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines)


def expected_rows() -> list[tuple[str, ...]]:
    """What the page must say without what was measured: from the table of scenarios alone."""
    return [row for name in FAULTS for row in _told(name)]


def _told(fault: str) -> list[tuple[str, ...]]:
    return [(*cells, apis, WAYS[way], *_outcome(outcome)) for cells, apis, way, outcome, _ in _grouped(fault)]


def _grouped(fault: str) -> list[tuple[tuple[str], str, str, Outcome, list[Scenario]]]:
    """Ways of one fault; the APIs have one outcome in common."""
    told = FAULTS[fault]
    ways = ["alone", "next", *(["goes on"] if told.goes_on else [])]
    apis = "all" if len(told.voices) == len(VOICES) else ", ".join(told.voices)
    found = []
    for number, way in enumerate(ways):
        scenarios = [Scenario(fault, voice, way) for voice in told.voices]  # type: ignore[arg-type]
        cells = (told.title if number == 0 else SAME, apis if number == 0 else SAME)
        found.append(((cells[0],), cells[1], way, scenarios[0].outcome, scenarios))
    return found


def _rows(fault: str, results: dict[str, Result]) -> list[tuple[str, ...]]:
    rows = []
    for row, (_, _, _, _, scenarios) in zip(_told(fault), _grouped(fault), strict=True):
        taken = [results[scenario.name] for scenario in scenarios]
        silence = max(result.silence_ms for result in taken)
        rows.append((*row, f"{silence:,.0f}", _billed([result.attempts for result in taken])))
    return rows


def _outcome(outcome: Outcome) -> tuple[str, str]:
    return _heard(outcome.heard), " + ".join(str(count) for count in outcome.asked)


def _heard(heard: Heard) -> str:
    """In words."""
    said = [f"“{_short(heard.text)}”"] if heard.text else []
    said += [f"a tool call {arguments}" for arguments in heard.calls]
    if heard.finish:
        return ", ".join([*said, f"`{heard.finish}`"])
    code = f" `{heard.code}`" if heard.code else ""
    later = f", `Retry-After: {heard.retry_after}`" if heard.retry_after else ""
    return ", ".join([*said, f"an error{code}" if heard.status == 200 else f"{heard.status}{code}{later}"])


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:4]}… ({len(text):,} characters)"


def _billed(turns: Sequence[Sequence[Attempt]]) -> str:
    """Target by target."""
    width = max((len(attempts) for attempts in turns), default=0)
    return "; ".join(_of_one([attempts[at] for attempts in turns if at < len(attempts)]) for at in range(width))


def _of_one(attempts: Sequence[Attempt]) -> str:
    usages = [attempt.usage for attempt in attempts]
    about = "~" if any(usage.estimated for usage in usages) else ""
    return f"{about}{_range([usage.prompt for usage in usages])} + {_range([usage.completion for usage in usages])}"


def _range(values: Sequence[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)}–{max(values)}"


def rows_of(text: str) -> list[tuple[str, ...]]:
    """The rows of a page without their measured columns."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [row[:-MEASURED] for row in cells if row != COLUMNS and set(row) != {"---"}]
