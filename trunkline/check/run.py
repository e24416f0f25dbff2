"""Ask all sections at the same time, each within its time, and put together what they found."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from edge.signature import secrets_of
from protocol.settings import Settings, SettingsError, check_exposure, load
from trunkline import run_file
from trunkline.check import clock
from trunkline.check.bus import SECTION as NATS
from trunkline.check.bus import BusSeen, look_at_bus
from trunkline.check.findings import Finding, ok, told, unseen, warn
from trunkline.check.machine import DATA, FILES, PORTS, judge_files, look_at_data, look_at_ports, open_files_limit
from trunkline.check.processes import EDGES, is_alive, look_at_processes
from trunkline.check.profiles import SECTION as PROFILES
from trunkline.check.profiles import judge_profiles
from trunkline.check.sizes import number
from trunkline.check.targets import SECTION as TARGETS
from trunkline.check.targets import TargetSeen, judge_keys, look_at_targets
from trunkline.check.workers import serving
from trunkline.children import check_admin_port
from workers import prompts

CONFIGURATION = "configuration"
SECTIONS = (CONFIGURATION, PROFILES, NATS, "streams", "workers", EDGES, TARGETS, PORTS, clock.SECTION, FILES, DATA)
BOUND_S = 20.0  # of a section: each step in it has a shorter one

T = TypeVar("T")


def check(environ: Mapping[str, str], *, spend: bool) -> list[Finding]:
    """Everything that was found. `spend`: ask each target for a token too."""
    logging.getLogger().addHandler(logging.NullHandler())  # what goes wrong is a finding, not a line on the terminal
    try:
        environ = asyncio.run(run_file.joined(load(environ), environ))
        settings = load(environ)
    except SettingsError as error:
        return [_misconfigured(error)]
    return asyncio.run(_check(settings, environ, spend=spend))


def _misconfigured(error: SettingsError) -> Finding:
    """Without a configuration there is nothing to look at."""
    finding = told(CONFIGURATION, "settings", "fail", str(error), "correct it; docs/settings.md lists every setting")
    return unseen(CONFIGURATION, finding.name, finding.text, finding.cure)


async def _check(settings: Settings, environ: Mapping[str, str], *, spend: bool) -> list[Finding]:
    asyncio.get_running_loop().set_default_executor(Daemons())
    run = run_file.read(Path(settings.data_dir))
    run = run if is_alive(run) else {}
    turn_s = settings.turn.budget_s if spend else 0.0
    bus, targets, processes, ports = await asyncio.gather(
        within(BOUND_S, look_at_bus(settings, run), lambda: BusSeen([late(NATS, "server", BOUND_S)])),
        within(
            BOUND_S + turn_s, look_at_targets(settings, environ, spend=spend), lambda: _late_targets(settings, turn_s)
        ),
        within(BOUND_S, look_at_processes(run), lambda: [late(EDGES, "edges", BOUND_S)]),
        within(BOUND_S, look_at_ports(settings, run), lambda: [late(PORTS, "ports", BOUND_S)]),
    )
    readings = [*bus.readings, *(reading for seen in targets for reading in seen.readings)]
    findings = [
        *_configuration(settings, environ),
        *judge_webhooks(settings, environ, keeps_them=bus.keeps_hooks),
        *judge_profiles(settings),
        *bus.findings,
        *(processes if bus.reached or run else []),  # where no line runs, nobody asks about its edges
        *_targets(settings, environ, targets, bus),
        *ports,
        *map(clock.judge, readings),
        *judge_files(settings, open_files_limit()),
        *look_at_data(settings, run),
    ]
    return sorted(findings, key=lambda finding: SECTIONS.index(finding.section))


def _configuration(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """What `load` has read, and what stops only some commands."""
    counted = f"{number(len(settings.models), 'model')}, {number(len(settings.targets), 'target')}"
    found = [ok(CONFIGURATION, "settings", f"{_source(environ)}: {counted}; hash {settings.digest()}")]
    try:
        check_exposure(settings)
    except SettingsError as error:
        found.append(told(CONFIGURATION, "exposure", "fail", str(error), "set TRUNKLINE_API_KEYS"))
    found += [told(CONFIGURATION, "prompts", "fail", str(error), "correct it") for error in prompts.wrong(settings)]
    try:
        check_admin_port(settings)
    except SettingsError as error:
        found.append(told(CONFIGURATION, "admin", "warn", str(error), "unset TRUNKLINE_ADMIN__PORT"))
    return found


def judge_webhooks(settings: Settings, environ: Mapping[str, str], *, keeps_them: bool) -> list[Finding]:
    """The secret that an edge started here would lack. `keeps_them`: an edge with that secret has made their stream."""
    try:
        secrets_of(settings.hooks, environ)
    except SettingsError as error:
        finding = told(CONFIGURATION, "webhooks", "fail", str(error), "export it")
        cure = f"nothing, unless an edge is to be started from here: {finding.cure}"
        return [warn(CONFIGURATION, "webhooks", f"{finding.text} here", cure) if keeps_them else finding]
    return []


def _source(environ: Mapping[str, str]) -> str:
    named = environ.get("TRUNKLINE_CONFIG")
    if named:
        return named
    return "trunkline.toml" if Path("trunkline.toml").exists() else "no file"


def _targets(settings: Settings, environ: Mapping[str, str], targets: list[TargetSeen], bus: BusSeen) -> list[Finding]:
    if not settings.targets:
        return [ok(TARGETS, "none", "only built-in models are configured")]
    keys = judge_keys(settings, environ, serving(settings, bus.workers))
    return [finding for seen in targets for finding in (*seen.rows(), *keys.get(seen.name, []))]


def _late_targets(settings: Settings, turn_s: float) -> list[TargetSeen]:
    return [TargetSeen(name, findings=[late(TARGETS, name, BOUND_S + turn_s)]) for name in settings.targets]


async def within(bound_s: float, looking: Coroutine[Any, Any, T], otherwise: Callable[[], T]) -> T:
    """What a section found; `otherwise`, where it comes to no end in `bound_s` seconds."""
    try:
        async with asyncio.timeout(bound_s):
            return await looking
    except TimeoutError:
        return otherwise()


def late(section: str, name: str, bound_s: float) -> Finding:
    """About a section that hangs."""
    return unseen(section, name, f"no end within {bound_s:g} s", "try again; if it stays so, look at the network")


class Daemons(ThreadPoolExecutor):
    """Threads for whom nobody waits at the end: a name service that never answers must not hold up the exit."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # who gives up waiting does not touch it any more

        def work() -> None:
            try:
                result = function(*args, **named)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, daemon=True).start()
        return future
