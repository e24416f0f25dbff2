"""Calls as lines, for people and for programs. Pure, except that times of day are local."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from rich.cells import cell_len

from protocol.messages import TurnRecord
from trunkline.calls.listed import CallSeen
from trunkline.calls.reading import Call
from trunkline.calls.webhook import Told
from trunkline.top.tables import UNKNOWN, milliseconds, plain
from trunkline.turns.summary import Tally, money, sentence

GAP = "  "
NOTE = "             "  # below a turn, what else is known of it


class Column(NamedTuple):
    """One column; it is as wide as its widest cell."""

    name: str
    cell: Callable[[Any], str]


def list_lines(calls: Sequence[CallSeen]) -> list[str]:
    """A heading, and a line for each call."""
    return table(LISTED, calls)


def call_lines(call: Call, webhooks: Iterable[Told]) -> list[str]:
    """Everything of one call, in order."""
    turns = table(TURNS, call.turns)
    lines = [f"call {plain(call.call_id)}: {_who(call.turns)}" if call.turns else f"call {plain(call.call_id)}"]
    if call.turns:
        tally = Tally()
        tally.add(call.turns)
        lines += [sentence(tally.summary()), "", turns[0]]
    for turn, line in zip(call.turns, turns[1:], strict=True):
        lines += [line, *(NOTE + plain(note) for note in notes(turn))]
    for webhook in webhooks:
        lines += ["", *webhook_lines(webhook)]
    return lines


def notes(turn: TurnRecord) -> list[str]:
    """What no column has room for."""
    found = []
    if turn.error:
        found.append(f"error: {turn.error}")
    if turn.spoken_by_edge:
        found.append(f"the edge spoke: {', '.join(map(repr, turn.spoken_by_edge))}")
    if turn.called_by_edge:
        found.append(f"the edge called: {', '.join(turn.called_by_edge)}")
    if turn.withheld:
        found.append(f"withheld: {', '.join(f'{one.tool} ({one.reason})' for one in turn.withheld)}")
    if turn.leaked:
        found.append(f"taken out of the text: {turn.leaked}")
    if turn.unheard:
        cost = "" if turn.unheard_cost is None else f", {money(turn.unheard_cost)}"
        found.append(f"generated and not sent: {turn.unheard} tokens{cost}")
    if turn.heard:
        found.append(f"heard: {turn.heard.heard_words} of {turn.heard.said_words} words that were sent")
    return found


def webhook_lines(webhook: Told) -> list[str]:
    """One webhook: what it is, what it says, and the transcript where that was asked for."""
    facts = {
        "agent": webhook.agent_id,
        "status": webhook.status,
        "lasted": None if webhook.duration_s is None else f"{webhook.duration_s:g} s",
        "cost there": None if webhook.cost is None else f"{webhook.cost:g}",
        "ended": webhook.ended,
        "bytes": webhook.bytes,
        "trace": webhook.trace_id,
    }
    said = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    kind = webhook.type or "of no known type"
    lines = [f"webhook {plain(kind)} at {moment(webhook.received_at)}: {plain(said)}"]
    for entry in webhook.transcript or ():
        at = UNKNOWN if entry.time_in_call_secs is None else f"{entry.time_in_call_secs:g} s"
        lines.append(f"{at:>8}  {plain(entry.role):<6}{plain(entry.message or '')}".rstrip())
    return lines


def list_json(calls: Iterable[CallSeen]) -> list[str]:
    """A line of JSON for each."""
    return [msgspec.json.encode(call).decode() for call in calls]


def call_json(call: Call, webhooks: Sequence[Told]) -> str:
    """One line of JSON: the records as the stream keeps them, and what belongs to them."""
    whole: Mapping[str, object] = {"call_id": call.call_id, "turns": call.turns, "webhooks": webhooks}
    return msgspec.json.encode(whole).decode()


def moment(at: str) -> str:
    """The time of day, and the day when it was another."""
    try:
        local = datetime.fromisoformat(at).astimezone()
    except (ValueError, OverflowError):
        return UNKNOWN
    today = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%m-%d %H:%M")


def _who(turns: Sequence[TurnRecord]) -> str:
    """Whose it was, and how it was answered."""
    tenants = ", ".join(dict.fromkeys(turn.tenant for turn in turns))
    profiles = ", ".join(dict.fromkeys(turn.profile for turn in turns))
    models = ", ".join(dict.fromkeys(turn.model for turn in turns))
    return plain(f"tenant {tenants}, profile {profiles}, model {models}")


def table(columns: Sequence[Column], rows: Iterable[Any]) -> list[str]:
    """A heading, and a line for each row."""
    lines = [[column.name for column in columns], *([plain(column.cell(row)) for column in columns] for row in rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    return [GAP.join(_padded(line, widths)).rstrip() for line in lines]


def _padded(line: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    return (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))


def _cost(cost: float | None) -> str:
    return UNKNOWN if cost is None else money(cost)


LISTED = (
    Column("last", lambda call: moment(call.last_at)),
    Column("first", lambda call: moment(call.first_at)),
    Column("call", lambda call: call.call_id),
    Column("tenant", lambda call: call.tenant),
    Column("profile", lambda call: call.profile),
    Column("turns", lambda call: str(call.turns)),
    Column("interrupted", lambda call: str(call.interrupted)),
    Column("cost", lambda call: _cost(call.cost)),
    Column("outcomes", lambda call: ", ".join(f"{count} {outcome}" for outcome, count in call.outcomes.items())),
)
TURNS = (
    Column("started", lambda turn: moment(turn.started_at)),
    Column("outcome", lambda turn: turn.outcome),
    Column("first", lambda turn: milliseconds(turn.ttft_ms)),
    Column("total", lambda turn: milliseconds(turn.total_ms)),
    Column("target", lambda turn: turn.target or UNKNOWN),
    Column("cost", lambda turn: _cost(turn.cost)),
    Column("turn", lambda turn: turn.id),
    Column("trace", lambda turn: turn.trace_id or UNKNOWN),
)
