"""`trunkline responses`: how it runs, what it prints, and what it removes."""

import re
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec

from protocol import process
from protocol.settings import Settings, SettingsError
from trunkline import run_file
from trunkline.check.sizes import number
from trunkline.listen import listen
from trunkline.responses import forms
from trunkline.responses.reading import Bucket, Kept
from trunkline.turns.looking import looked
from trunkline.turns.wanted import Since

TENANT = re.compile(r"[A-Za-z0-9_-]+")  # as keys are named; a part of a subject
KNOWN = "`trunkline responses ls` lists those that there are"


def ls(settings: Settings, *, last: int, tenant: str | None, as_json: bool) -> int:
    """Print the newest, at most `last`; the exit code. Raises SettingsError: no key is named so."""
    _check(tenant)
    return looked(lambda: _ls(settings, last, tenant, as_json))


def show(settings: Settings, response_id: str, *, tenant: str | None, as_json: bool) -> int:
    """Print one; the exit code. Raises as `ls`."""
    _check(tenant)
    return looked(lambda: _show(settings, response_id, tenant, as_json))


def remove(settings: Settings, response_ids: Sequence[str], *, tenant: str | None) -> int:
    """Remove these; the exit code. Raises as `ls`."""
    _check(tenant)
    return looked(lambda: _remove(settings, list(dict.fromkeys(response_ids)), tenant))


def remove_all(settings: Settings, *, tenant: str | None, before: Since | None) -> int:
    """Remove all of a tenant's, or all that are so old; the exit code. Raises as `ls`."""
    _check(tenant)
    return looked(lambda: _remove_all(settings, tenant, before))


async def _ls(settings: Settings, last: int, tenant: str | None, as_json: bool) -> int:
    async with _bucket(settings) as bucket:
        responses = list(filter(None, map(forms.seen, await bucket.newest(last, tenant=tenant))))
    if not responses:
        print("no response is stored", file=sys.stderr)
    _print(forms.list_json(responses) if as_json else forms.list_lines(responses) if responses else [])
    return 0


async def _show(settings: Settings, response_id: str, tenant: str | None, as_json: bool) -> int:
    async with _bucket(settings) as bucket:
        found = await bucket.find(response_id, tenant=tenant)
    if len(found) != 1:
        return process.end(process.USAGE, _which(response_id, found))
    try:
        _print([forms.show_json(found[0])] if as_json else forms.show_lines(found[0]))
    except msgspec.DecodeError as error:
        cure = "look at it with --json, or update this Trunkline"
        return process.end(1, f"the record of {response_id!r} cannot be read ({error}); {cure}")
    return 0


async def _remove(settings: Settings, response_ids: list[str], tenant: str | None) -> int:
    wrong = []
    async with _bucket(settings) as bucket:
        for response_id in response_ids:
            found = await bucket.find(response_id, tenant=tenant)
            if len(found) == 1 and await bucket.remove(found[0].tenant, response_id):
                _print([f"removed {response_id}"])
            else:
                wrong.append(_which(response_id, found[1:] and found))
    return process.end(process.USAGE, *wrong) if wrong else 0


async def _remove_all(settings: Settings, tenant: str | None, before: Since | None) -> int:
    async with _bucket(settings) as bucket:
        count = await bucket.remove_all(tenant=tenant, before=before)
    whose = f" of tenant {tenant}" if tenant else ""
    _print([f"removed {number(count, 'record')}{whose}"])  # a mark of one that was deleted counts too
    return 0


@asynccontextmanager
async def _bucket(settings: Settings) -> AsyncIterator[Bucket]:
    """That of the line that runs here, or of the one that the settings name."""
    async with listen(await run_file.join(settings)) as listener:
        await process.open_bus(listener.has_streams())
        yield Bucket(listener)


def _which(response_id: str, found: Sequence[Kept]) -> str:
    """Why it is not one."""
    if not found:
        return f"no response {response_id!r} is stored; {KNOWN}"
    choices = " or ".join(f"--tenant {kept.tenant}" for kept in found)
    return f"these are {len(found)} responses, of as many keys, with the id {response_id!r}; add {choices}"


def _check(tenant: str | None) -> None:
    if tenant is not None and not TENANT.fullmatch(tenant):
        raise SettingsError(f"--tenant {tenant!r} is no name of a key: letters, digits, '_' and '-' alone")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
    sys.stdout.flush()
