"""Look at NATS, and listen for workers meanwhile."""

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from protocol.settings import Settings
from protocol.streams import HookLimits, JobLimits, ResponseLimits, StreamError
from protocol.version import own_version
from protocol.wire import Disconnected
from trunkline import run_file
from trunkline.check import server
from trunkline.check.clock import Reading
from trunkline.check.findings import Finding, ok, told, unseen
from trunkline.check.streams import judge_calls, judge_hooks, judge_jobs, judge_responses, judge_turns
from trunkline.check.workers import Roll, Worker, judge_workers
from trunkline.listen import DEFAULT_URL, UNANSWERED, Listener, StreamInfo, listen
from trunkline.nats_server import answers

SECTION = server.SECTION
HERE_S = 2.0  # workers speak once a second
ABSENT_S = 3.5  # who has said nothing for so long is not there, as edges see it


class BusSeen(Struct, frozen=True):
    """What was found on the bus. Not `reached`: there is none."""

    findings: list[Finding]
    reached: bool = False
    workers: list[Worker] = []
    readings: list[Reading] = []
    keeps_hooks: bool = False  # the stream of webhooks is there


async def look_at_bus(settings: Settings, run: dict[str, Any]) -> BusSeen:
    """NATS, its streams, and the workers that say that they live. `run`: what an `up` that runs here has written."""
    url = settings.nats.url or run.get("nats")
    if url is None and not await answers(DEFAULT_URL):
        return BusSeen([_no_line(settings)])
    try:
        async with listen(replace(settings, nats=replace(settings.nats, url=url))) as listener:
            return await _look(settings, listener, "" if url else ", the default address", _pids(run))
    except Disconnected as error:
        return BusSeen([unseen(SECTION, "server", str(error), _cure(str(error), settings))])


def _no_line(settings: Settings) -> Finding:
    return unseen(
        SECTION,
        "server",
        f"no line runs here: {settings.data_dir} names none, no NATS answers at {DEFAULT_URL}, and "
        "TRUNKLINE_NATS__URL is not set",
        run_file.NO_LINE,
    )


def _cure(why: str, settings: Settings) -> str:
    if "uthorization" in why:
        return "put a user and password that the server knows into TRUNKLINE_NATS__URL: nats://user:password@host:4222"
    if "certificate" in why.lower():
        return "renew the server's certificate, or name its issuer in SSL_CERT_FILE"
    if settings.nats.url:
        return "start that server, or correct TRUNKLINE_NATS__URL (nats.url)"
    return "see the log of that `trunkline up`, or start it again"


async def _look(settings: Settings, listener: Listener, note: str, pids: list[int]) -> BusSeen:
    said = listener.server
    where = ok(SECTION, "server", f"{said.server_name or 'a server'} at {said.address}{note}")
    findings = [where, server.judge_version(said), server.judge_jetstream(said), server.judge_payload(said)]
    if any(finding.level == "fail" for finding in findings[:3]):
        return BusSeen(findings, reached=True)
    roll = Roll()
    await listener.here(roll.hear)
    async with asyncio.TaskGroup() as tasks:
        streams = tasks.create_task(_look_at_streams(settings, listener))
        tasks.create_task(_listen(roll))
    seen = streams.result()
    workers = roll.workers
    findings += seen.findings + judge_workers(settings, workers, own_version(), pids)
    return replace(seen, findings=findings, reached=True, workers=workers)


def _pids(run: dict[str, Any]) -> list[int]:
    """The processes of the line that runs here that read their configuration again on SIGHUP."""
    pids = run.get("pids") or {}
    return [*pids.get("edges", []), *pids.get("workers", [])]


async def _listen(roll: Roll) -> None:
    """Long enough to hear everybody who lives."""
    await asyncio.sleep(HERE_S)
    if not roll.workers:
        await asyncio.sleep(ABSENT_S - HERE_S)


async def _look_at_streams(settings: Settings, listener: Listener) -> BusSeen:
    """Room, streams and consumers, and the server's clock."""
    try:
        return await _judge_streams(settings, listener)
    except StreamError as error:
        return BusSeen([told(SECTION, "jetstream", "fail", str(error), f"switch JetStream on, as in {server.CONFIG}")])
    except UNANSWERED as error:
        why = str(error) or type(error).__name__
        cure = "see the server's log: it may be starting, or forbid this user $JS.API.>"
        return BusSeen([unseen(SECTION, "jetstream", f"JetStream does not answer ({why})", cure)])


async def _judge_streams(settings: Settings, listener: Listener) -> BusSeen:
    limits = JobLimits(settings.jobs.max_msgs, settings.jobs.max_bytes, settings.jobs.max_age_s)
    subjects, pools = listener.subjects, _pools(settings)
    account = await listener.ask("INFO")
    asked = datetime.now(UTC)
    turns = await listener.stream(subjects.turns)
    readings = _readings(turns, asked)
    takes_hooks = settings.hooks.elevenlabs_secret_env is not None
    hooks = await listener.stream(subjects.hooks) if takes_hooks else None
    responses = await listener.stream(subjects.responses_stream)
    jobs = dict(zip(pools, await _each(listener.stream(subjects.jobs_stream(pool)) for pool in pools), strict=True))
    found = server.judge_room(
        account,
        jobs_missing=sum(info is None for info in jobs.values()),
        jobs_bytes=limits.max_bytes,
        turns_missing=turns is None,
        hooks_bytes=settings.hooks.max_bytes if takes_hooks and hooks is None else 0,
        responses_bytes=settings.responses.max_bytes if responses is None else 0,
    )
    for pool, info in jobs.items():
        consumers = await listener.consumers(info.name) if info else []
        found += judge_jobs(subjects, pool, limits, info, consumers)
    found += judge_turns(subjects, turns)
    found += judge_calls(subjects, await listener.stream(subjects.calls_stream))
    stored = ResponseLimits(settings.responses.max_age_s, settings.responses.max_bytes)
    found += judge_responses(subjects, stored, responses)
    if takes_hooks:
        kept = HookLimits(settings.hooks.max_age_s, settings.hooks.max_bytes, settings.hooks.window_s)
        found += judge_hooks(subjects, kept, hooks)
    return BusSeen(found, readings=readings, keeps_hooks=hooks is not None)


def _pools(settings: Settings) -> list[str]:
    return sorted({model.pool for model in settings.models.values()} | set(settings.worker.pools))


def _readings(info: StreamInfo | None, asked: datetime) -> list[Reading]:
    return [Reading("NATS", info.ts, asked, datetime.now(UTC))] if info and info.ts else []


async def _each(questions: Iterable[Awaitable[StreamInfo | None]]) -> list[StreamInfo | None]:
    return list(await asyncio.gather(*questions))
