"""`trunkline calls`: how it runs, and what it prints."""

import sys
from collections.abc import Iterable

from msgspec import Struct

from protocol import process
from protocol.settings import Settings
from trunkline import run_file
from trunkline.calls import forms
from trunkline.calls.listed import listed
from trunkline.calls.reading import read_call
from trunkline.calls.webhook import told
from trunkline.listen import listen
from trunkline.turns.looking import looked
from trunkline.turns.reading import Reading
from trunkline.turns.wanted import Since, Wanted

LAST = 20
LATELY = 2000  # turns that are looked at where nothing says since when


class Order(Struct, frozen=True, kw_only=True):
    """What to look at, and how to print it."""

    tenant: str | None = None
    since: Since | None = None
    as_json: bool = False


def ls(settings: Settings, order: Order, *, last: int) -> int:
    """Print the newest calls, at most `last`; the exit code."""
    return looked(lambda: _ls(settings, order, last))


def show(settings: Settings, order: Order, call_id: str, *, transcript: bool) -> int:
    """Print all that is kept of one call; the exit code."""
    return looked(lambda: _show(settings, order, call_id, transcript))


async def _ls(settings: Settings, order: Order, last: int) -> int:
    settings = await run_file.join(settings)
    async with listen(settings) as listener:
        await process.open_bus(listener.has_streams())
        reading = Reading(listener, Wanted(tenant=order.tenant))
        if order.since is None:
            records = await reading.newest(LATELY, None)
        else:
            records = [record async for batch in reading.all_since(order.since) for record in batch]
    calls = listed(records, last=last)
    if not calls:
        print("no turn that names its call", file=sys.stderr)
    _print(forms.list_json(calls) if order.as_json else forms.list_lines(calls) if calls else [])
    return 0


async def _show(settings: Settings, order: Order, call_id: str, transcript: bool) -> int:
    settings = await run_file.join(settings)
    async with listen(settings) as listener:
        await process.open_bus(listener.has_streams())
        call = await read_call(listener, call_id, tenant=order.tenant, since=order.since)
    if not call.turns and not call.hooks:
        cure = "`trunkline calls ls` lists those that there are"
        return process.end(process.USAGE, f"no turn and no webhook of a call {call_id!r} is kept; {cure}")
    calls = listed(call.turns, last=LAST)
    if len(calls) > 1:
        _print(forms.list_json(calls) if order.as_json else forms.list_lines(calls))
        choices = " or ".join(f"--tenant {one.tenant}" for one in calls)
        return process.end(process.USAGE, f"these are {len(calls)} calls, of as many keys, with one id; add {choices}")
    webhooks = [told(hook, transcript=transcript) for hook in call.hooks]
    _print([forms.call_json(call, webhooks)] if order.as_json else forms.call_lines(call, webhooks))
    return 0


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
    sys.stdout.flush()
