"""The configuration, read again while a process runs: new turns use it, live ones keep what they began with.

What a process has bound, opened or joined at its start stays as it is until a restart.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from protocol.settings import CONFIG, NO_FLAGS, Settings, SettingsError, load

log = logging.getLogger(__name__)

FOLLOWED = ("models", "targets", "turn", "breaker", "builtin", "upstream", "local", "profiles", "tenants", "tools")
"""The tables that a running process follows; `upstream` and `local` make models and targets."""

FILE = Path("trunkline.toml")
Outcome = Literal["applied", "refused", "unchanged"]
OUTCOMES: tuple[Outcome, ...] = ("applied", "refused", "unchanged")


def reader(environ: Mapping[str, str], flags: Mapping[str, str] = NO_FLAGS) -> Callable[[], Settings]:
    """What reads again the file, the environment and the options that `load` has just read; it raises SettingsError.

    A file that was there and is gone is an error, though at a start it may be missing: its models would go with it.
    """
    config = FILE if not environ.get(CONFIG) and FILE.exists() else None
    return lambda: load(environ, config=config, flags=flags)


def renewed(running: Settings, read: Settings) -> Settings:
    """`running`, with all that can change while it runs taken from `read`."""
    return replace(running, **{name: getattr(read, name) for name in FOLLOWED})


def left_behind(running: Settings, read: Settings, *, foreign: str) -> list[str]:
    """The keys of `read` that differ and need a restart. `foreign`: the table of the other tier."""
    names = [name for name in running.__struct_fields__ if name not in (*FOLLOWED, foreign)]
    return [key for name in names for key in _differing(name, getattr(running, name), getattr(read, name))]


class Reloader:
    """Obeys orders to read the configuration again, one at a time.

    `apply` puts new settings into force, or raises SettingsError and changes nothing; `count` hears how it went.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        read: Callable[[], Settings],
        apply: Callable[[Settings], None],
        count: Callable[[Outcome], None],
        foreign: str,
    ) -> None:
        self._running = settings
        self._read = read
        self._apply = apply
        self._count = count
        self._foreign = foreign

    async def run(self, ordered: asyncio.Event) -> None:
        """Obey until cancelled."""
        while True:
            await ordered.wait()
            ordered.clear()
            self._count(await self._reload())

    async def _reload(self) -> Outcome:
        try:
            return self._follow(await asyncio.to_thread(self._read))  # streams go on meanwhile
        except SettingsError as error:
            log.error("the configuration is not reloaded, nothing changes: %s", error)
        except Exception:  # a bug in here must not end the streams that run
            log.exception("the configuration is not reloaded, nothing changes")
        return "refused"

    def _follow(self, read: Settings) -> Outcome:
        """Raises SettingsError."""
        new = renewed(self._running, read)
        changed = new != self._running
        if changed:
            self._apply(new)
            self._running = new
        if keys := left_behind(new, read, foreign=self._foreign):
            log.warning("changed, but only after a restart: %s", ", ".join(keys))
        log.info("configuration reloaded" if changed else "configuration unchanged", extra={"config": new.digest()})
        return "applied" if changed else "unchanged"


def _differing(name: str, old: object, new: object) -> Iterator[str]:
    """`edge.port`, or the name itself where that has no keys."""
    if not isinstance(old, Struct):
        yield from [name] * (old != new)
        return
    for key in old.__struct_fields__:
        if getattr(old, key) != getattr(new, key):
            yield f"{name}.{key}"
