"""What the findings of `trunkline check` say, case by case: plain functions over values."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from protocol.messages import Here
from protocol.settings import Model, Settings, Target, parse
from protocol.settings_values import Dialect
from protocol.streams import (
    TURNS_MAX_BYTES,
    HookLimits,
    JobLimits,
    ResponseLimits,
    calls_config,
    consumer_config,
    hooks_config,
    jobs_config,
    responses_config,
    turns_config,
)
from protocol.subjects import Subjects
from trunkline.check import answers, clock, machine, processes, server, streams, workers
from trunkline.check.findings import Finding, document, exit_code, fail, ok, unseen, warn
from trunkline.check.run import Daemons, judge_webhooks, late, within
from trunkline.check.sizes import listed, size
from trunkline.check.workers import Roll, Worker
from trunkline.listen import Server, StreamInfo, StreamState

SUBJECTS = Subjects("t")
FINE, WARNING, FAILURE, BLIND = ok("s", "n", "t"), warn("s", "n", "t", "c"), fail("s", "n", "t", "c"), unseen(*"sntc")


def levels(findings: list[Finding]) -> list[str]:
    """And no complaint without a cure."""
    assert all(bool(finding.cure) == (finding.level != "ok") for finding in findings)
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([FINE], 0),
        ([FINE, WARNING], 0),
        ([WARNING, FAILURE], 1),
        ([BLIND], 2),
        ([FAILURE, BLIND], 2),
    ],
)
def test_what_could_not_be_looked_at_goes_over_what_is_wrong(findings: list[Finding], code: int) -> None:
    said = document(findings, "1.2.3")

    assert exit_code(findings) == said["exit_code"] == code
    assert said["complete"] == (BLIND not in findings)
    assert sum(said["counts"].values()) == len(findings)


# --- the server ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("2.15.1", "ok"),
        ("2.11.0", "ok"),
        ("2.11.0-RC.1", "ok"),
        ("v3.0.0", "ok"),
        ("2.10.29", "fail"),
        ("2.9.0", "fail"),
        ("1.4.1", "fail"),
        ("", "fail"),
        ("dev", "fail"),
    ],
)
def test_an_old_server_is_told_from_a_new_one(version: str, level: str) -> None:
    judged = server.judge_version(Server(version=version))

    assert levels([judged]) == [level]
    assert "2.11.0" in judged.text


@pytest.mark.parametrize(("payload", "level"), [(12 << 20, "ok"), (1 << 20, "warn"), (64 << 10, "fail")])
def test_a_message_must_hold_a_job(payload: int, level: str) -> None:
    assert levels([server.judge_payload(Server(max_payload=payload))]) == [level]


@pytest.mark.parametrize(
    ("limit", "reserved", "missing", "level"),
    [(-1, 0, 9, "ok"), (100, 0, 1, "ok"), (100, 50, 1, "fail"), (100, 100, 0, "ok"), (0, 0, 1, "fail")],
)
def test_streams_that_are_to_be_made_must_fit_into_the_account(
    limit: int, reserved: int, missing: int, level: str
) -> None:
    account = {"memory": 0, "reserved_memory": reserved, "limits": {"max_memory": limit, "max_storage": -1}}

    memory, storage = server.judge_room(account, jobs_missing=missing, jobs_bytes=60, turns_missing=True)

    assert levels([memory, storage]) == [level, "ok"]


def test_a_stream_of_webhooks_that_is_to_be_made_must_fit_beside_the_records() -> None:
    account = {"limits": {"max_memory": -1, "max_storage": TURNS_MAX_BYTES + 100}}
    room = partial(server.judge_room, account, jobs_missing=0, jobs_bytes=0, turns_missing=True)

    _, fits = room(hooks_bytes=100)
    _, is_short = room(hooks_bytes=101)
    _, with_responses = room(hooks_bytes=60, responses_bytes=60)

    assert levels([fits, is_short, with_responses]) == ["ok", "fail", "fail"]


# --- streams ---------------------------------------------------------------------------------------

SCHEMA = "trunkline.schema"


def jobs(messages: int = 0, **changed: Any) -> StreamInfo:
    """As the server tells: with defaults of its own beside our settings."""
    config = jobs_config(SUBJECTS, "default", JobLimits(), "workers-1")
    return StreamInfo({**config, "max_consumers": -1, "sealed": False, **changed}, StreamState(messages=messages))


def judge_jobs(info: StreamInfo | None, **consumer: Any) -> list[Finding]:
    consumers = [{**consumer_config("workers-1"), "replay_policy": "instant", **consumer}]
    return streams.judge_jobs(SUBJECTS, "default", JobLimits(), info, consumers)


@pytest.mark.parametrize(
    ("info", "level", "words"),
    [
        (jobs(), "ok", "0 of 1000 jobs wait"),
        (None, "warn", "there is no stream t_1_JOBS_default yet"),
        (jobs(max_msgs=500), "warn", "max_msgs is 500, not 1000"),
        (jobs(max_bytes=1 << 20), "warn", "max_bytes is 1 MiB, not 256 MiB"),
        (jobs(max_age=60 * 10**9), "warn", "max_age is 60 s, not 120 s"),
        (jobs(max_msgs=500, num_replicas=3), "warn", "num_replicas is 3, not 1"),
        (jobs(retention="limits"), "fail", "retention is limits, not workqueue"),
        (jobs(max_msgs=5, discard="old"), "fail", "discard is old, not new"),
        (jobs(subjects=["t.>"]), "fail", "subjects is ['t.>'], not ['t.1.job.default.>']"),
        (jobs(allow_msg_ttl=False), "fail", "allow_msg_ttl is False, not True"),
        (jobs(messages=900), "warn", "900 of 1000 jobs wait: the queue is nearly full"),
        (jobs(metadata={SCHEMA: "2", "trunkline.consumer": "workers-1"}), "warn", "a newer Trunkline"),
        (jobs(metadata={"trunkline.consumer": "workers-1"}), "warn", "something else has made it"),
    ],
)
def test_a_job_stream_is_compared_with_the_one_that_we_would_make(
    info: StreamInfo | None, level: str, words: str
) -> None:
    found = judge_jobs(info)

    assert levels(found) == [level]
    assert words in found[0].text


def test_a_setting_that_the_server_leaves_out_is_not_as_we_would_set_it() -> None:
    info = jobs()
    del info.config["allow_msg_ttl"]

    assert [str(one) for one in streams.differences({"allow_msg_ttl": True}, info.config)] == [
        "allow_msg_ttl is unset, not True"
    ]


@pytest.mark.parametrize(
    ("consumer", "words"),
    [
        ({"ack_wait": 30 * 10**9}, "ack_wait is 30 s, not 0.3 s"),
        ({"max_ack_pending": 1000}, "max_ack_pending is 1000, not -1"),
        ({"durable_name": "workers-2"}, "the consumer workers-1 is missing, so nobody takes jobs: it has workers-2"),
    ],
)
def test_a_pool_has_the_one_consumer_that_its_stream_names(consumer: dict[str, Any], words: str) -> None:
    found = judge_jobs(jobs(), **consumer)

    assert levels(found) == ["fail"]
    assert words in found[0].text


def test_the_stream_of_turn_records_is_compared_too() -> None:
    config = turns_config(SUBJECTS)
    info = StreamInfo(config, StreamState(messages=3, bytes=2048))

    assert levels(streams.judge_turns(SUBJECTS, info)) == ["ok"]
    assert levels(streams.judge_turns(SUBJECTS, None)) == ["warn"]
    assert levels(streams.judge_turns(SUBJECTS, StreamInfo({**config, "storage": "memory"}, info.state))) == ["fail"]


def test_the_bucket_of_calls_is_compared_too() -> None:
    config = calls_config(SUBJECTS)
    info = StreamInfo(config, StreamState(messages=3, bytes=2048))

    assert [(finding.level, finding.text) for finding in streams.judge_calls(SUBJECTS, info)] == [
        ("ok", "3 calls, 2 KiB")
    ]
    assert levels(streams.judge_calls(SUBJECTS, None)) == ["warn"]
    assert levels(streams.judge_calls(SUBJECTS, StreamInfo({**config, "max_age": 1}, info.state))) == ["warn"]
    assert levels(streams.judge_calls(SUBJECTS, StreamInfo({**config, "storage": "file"}, info.state))) == ["fail"]


def test_the_stream_of_webhooks_is_changed_rather_than_made_anew() -> None:
    """Turn records are worth little; what came after calls cannot be had again."""
    limits = HookLimits(max_age_s=86_400, max_bytes=1 << 20, window_s=1800)
    info = StreamInfo(hooks_config(SUBJECTS, limits), StreamState(messages=3, bytes=2048))
    other = HookLimits(max_age_s=3600, max_bytes=1 << 20, window_s=1800)

    [differs] = streams.judge_hooks(SUBJECTS, other, info)

    assert levels(streams.judge_hooks(SUBJECTS, limits, info)) == ["ok"]
    assert levels(streams.judge_hooks(SUBJECTS, limits, None)) == ["warn"]
    assert differs.level == "warn"
    assert "max_age is 86400 s, not 3600 s" in differs.text
    assert "nats stream edit" in differs.cure


def test_the_bucket_of_responses_is_changed_rather_than_made_anew() -> None:
    limits = ResponseLimits(max_age_s=86_400, max_bytes=1 << 20)
    info = StreamInfo(responses_config(SUBJECTS, limits), StreamState(messages=3, bytes=2048))

    [fine] = streams.judge_responses(SUBJECTS, limits, info)
    [differs] = streams.judge_responses(SUBJECTS, ResponseLimits(max_age_s=3600, max_bytes=1 << 20), info)
    in_memory = streams.judge_responses(SUBJECTS, limits, StreamInfo({**info.config, "storage": "memory"}, info.state))

    assert (fine.level, fine.text) == ("ok", "3 responses, 2 KiB")
    assert levels(streams.judge_responses(SUBJECTS, limits, None)) == ["warn"]
    assert (differs.level, differs.text) == ("warn", "max_age is 86400 s, not 3600 s")
    assert "nats stream edit" in differs.cure
    assert levels(in_memory) == ["fail"]
    assert "nats stream rm" not in differs.cure


# --- workers ---------------------------------------------------------------------------------------

SETTINGS = parse('[models.a]\ntargets = ["x"]\n[targets.x]\nbase_url = "http://h/v1"\nmodel = "m"\n', {})
MODELS = tuple(SETTINGS.models)


def worker(
    worker_id: str = "w",
    *,
    models: tuple[str, ...] = MODELS,
    config: str = SETTINGS.digest(),
    free: int = 4,
    draining: bool = False,
    version: str = "1.0.0",
    pools: frozenset[str] = frozenset({"default"}),
    open_targets: tuple[str, ...] = (),
) -> Worker:
    here = Here(
        worker_id=worker_id,
        models=models,
        slots=4,
        free=free,
        draining=draining,
        config=config,
        version=version,
        open=open_targets,
    )
    return Worker(here, pools)


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([worker()], {"w": "ok"}),
        ([], {"pool default": "fail"}),
        ([worker(draining=True)], {"w": "ok", "pool default": "fail"}),
        ([worker(pools=frozenset({"other"}))], {"w": "ok", "pool default": "fail"}),
        ([worker(models=("echo",))], {"w": "ok", "pool default": "fail"}),
        ([worker(config="other")], {"w": "warn"}),
        ([worker("v"), worker(config="other")], {"v": "ok", "w": "warn", "pool default": "fail"}),
        ([worker("v"), worker(config="other", draining=True)], {"v": "ok", "w": "warn"}),
        ([worker(version="0.9.0")], {"w": "warn"}),
        ([worker(version="")], {"w": "warn"}),
        ([worker(free=0)], {"w": "ok", "pool default": "warn"}),
        ([worker("v"), worker(free=0)], {"v": "ok", "w": "ok"}),
        ([worker("v"), worker(open_targets=("x",))], {"v": "ok", "w": "ok", "target x": "warn"}),
    ],
)
def test_workers_are_compared_with_the_configuration_and_each_other(
    heard: list[Worker], expected: dict[str, str]
) -> None:
    found = workers.judge_workers(SETTINGS, heard, "1.0.0")

    levels(found)
    assert {finding.name: finding.level for finding in found} == expected


def test_an_open_breaker_is_told_with_the_workers_that_pass_its_target_over() -> None:
    heard = [worker("u", open_targets=("x", "y")), worker("v", open_targets=("x",)), worker("w")]

    x, y = workers.judge_workers(SETTINGS, heard, "1.0.0")[3:]

    assert (x.name, x.text) == ("target x", "its circuit breaker is open in 2 of 3 workers (u, v)")
    assert (y.name, y.text) == ("target y", "its circuit breaker is open in 1 of 3 workers (u)")


def test_the_cure_of_an_old_configuration_is_the_signal_and_whose_it_is() -> None:
    heard = [worker("v", models=("echo",)), worker(config="other")]

    here = workers.judge_workers(SETTINGS, heard, "1.0.0", [17, 18])
    elsewhere = workers.judge_workers(SETTINGS, heard, "1.0.0")

    assert [finding.name for finding in here if "`kill -HUP 17 18`" in finding.cure] == ["w", "pool default"]
    assert [finding.name for finding in elsewhere if "`kill -HUP` its process" in finding.cure] == [
        "w",
        "pool default",
    ]


def test_a_worker_of_several_pools_is_one_worker() -> None:
    roll = Roll()
    for pool in ("a", "b"):
        roll.hear(pool, worker().here)

    assert roll.workers == [worker(pools=frozenset({"a", "b"}))]


def test_only_workers_of_this_configuration_show_that_its_keys_are_known() -> None:
    assert workers.serving(SETTINGS, [worker()]) == {"x"}
    assert workers.serving(SETTINGS, [worker(config="other")]) == set()


# --- edges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "level", "words"),
    [
        ({"ready": True, "nats": True, "draining": False}, "ok", "pool default: 1 worker, 4 slots free"),
        ({"ready": False, "nats": True, "draining": True}, "warn", "drains"),
        ({"ready": False, "nats": False, "draining": False}, "fail", "lost NATS"),
        ({"ready": False, "nats": True, "draining": False}, "fail", "hears no worker"),
    ],
)
def test_an_edge_that_is_not_ready_says_why(said: dict[str, Any], level: str, words: str) -> None:
    pools = {"default": {"workers": 1, "slots_free": 4}}

    judged = processes.judge_readiness("edges", "http://e", {**said, "pools": pools})

    assert levels([judged]) == [level]
    assert words in judged.text


# --- targets ---------------------------------------------------------------------------------------

TARGET = Target(base_url="https://h/v1", model="gpt")


@pytest.mark.parametrize(
    ("base_url", "dialect", "url", "address"),
    [
        ("https://h/v1", "chat-completions", "https://h/v1/models", ("h", 443, True)),
        ("http://h:81/v1/", "chat-completions", "http://h:81/v1/models", ("h", 81, False)),
        ("http://[::1]/v1/chat/completions", "chat-completions", "http://[::1]/v1/models", ("::1", 80, False)),
        ("https://h", "chat-completions", "https://h/models", ("h", 443, True)),
        ("https://h/v1/responses", "responses", "https://h/v1/models", ("h", 443, True)),
        ("https://h/v1/messages", "messages", "https://h/v1/models", ("h", 443, True)),
        ("https://h", "messages", "https://h/v1/models", ("h", 443, True)),
    ],
)
def test_a_base_url_says_where_models_are_listed(
    base_url: str, dialect: Dialect, url: str, address: tuple[str, int, bool]
) -> None:
    assert answers.models_url(Target(base_url=base_url, model="m", dialect=dialect)) == url
    assert answers.address(base_url) == address


AZURE = Target(base_url="https://r", model="deployment", preset="azure", api_version="2024-10-21")


def test_azure_lists_its_models_by_version_and_not_its_deployments() -> None:
    assert answers.models_url(AZURE) == "https://r/openai/models?api-version=2024-10-21"
    assert answers.judge_models("gpt", AZURE, 200, b'{"data": [{"id": "gpt-4.1"}]}') == ("lists 1 models", [])


def test_a_model_without_its_date_is_listed_with_it() -> None:
    target = Target(base_url="https://h/v1", model="claude-haiku", dialect="messages")
    listed = b'{"data": [{"id": "claude-haiku-20251001"}]}'

    assert answers.judge_models("gpt", target, 200, listed) == ("lists claude-haiku", [])
    chat = msgspec.structs.replace(target, dialect="chat-completions")
    assert levels(answers.judge_models("gpt", chat, 200, listed)[1]) == ["warn"]


@pytest.mark.parametrize(
    ("preset", "unverified"), [("groq", True), ("azure", True), ("llama.cpp", False), (None, False)]
)
def test_what_could_only_be_read_about_is_said_to_be(preset: str | None, unverified: bool) -> None:
    found = answers.judge_preset("gpt", Target(base_url="https://h/v1", model="m", preset=preset))

    assert levels(found) == ["ok"] * unverified
    for finding in found:
        assert finding.text.startswith(f"unverified: what preset {preset} says was read on 2026-")
        assert "https://" in finding.text


@pytest.mark.parametrize(
    ("hedge", "targets", "expected"),
    [
        ({"hedge_after_s": 1.0}, ("gpt",), ["warn"]),
        ({"hedge_percentile": 0.9}, ("other", "gpt"), ["warn"]),
        ({"hedge_after_s": 1.0}, ("gpt", "other"), []),
        ({"hedge_after_s": 1.0}, ("gpt", "gpt"), []),
        ({}, ("gpt",), []),
    ],
)
def test_a_hedge_needs_another_target_behind_it(
    hedge: dict[str, float], targets: tuple[str, ...], expected: list[str]
) -> None:
    target = msgspec.structs.replace(TARGET, **hedge)

    found = answers.judge_hedge("gpt", target, {"m": Model(targets=targets)})

    assert levels(found) == expected
    assert [finding.text for finding in found] == [
        f"has {key}, and no target that could start beside it" for key in hedge
    ][: len(expected)]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"data": [{"id": "gpt"}]}', "lists gpt"),
        (200, b'{"data": [{"id": "gtp"}]}', "warn: does not list the model gpt"),
        (200, b'{"data": []}', "warn: does not list the model gpt"),
        (200, b"<html>", "lists no models"),
        (200, b"\xff", "lists no models"),
        (401, b"", "fail: wants a key (401)"),
        (403, b"", "warn: the key may not list models (403)"),
        (404, b"", "lists no models (404)"),
        (301, b"", "lists no models (301)"),
        (502, b"", "fail: answers 502"),
    ],
)
def test_the_list_of_models_tells_about_url_key_and_model(status: int, body: bytes, expected: str) -> None:
    phrase, findings = answers.judge_models("gpt", TARGET, status, body)

    levels(findings)
    assert expected in (phrase, *(f"{finding.level}: {finding.text}" for finding in findings))


def test_models_that_callers_name_need_not_be_listed() -> None:
    target = Target(base_url="https://h/v1", model="*")

    assert answers.judge_models("openai", target, 200, b'{"data": [{"id": "a"}]}') == ("lists 1 models", [])


@pytest.mark.parametrize(("days", "expected"), [(90, []), (14, []), (13, ["warn"]), (0, ["warn"])])
def test_a_certificate_that_ends_soon_is_a_warning(days: int, expected: list[str]) -> None:
    certificate = {"notAfter": "Jan  5 09:34:43 2030 GMT"}
    now = datetime(2030, 1, 5, 9, 0, tzinfo=UTC) - timedelta(days=days)

    phrase, findings = answers.judge_certificate("gpt", certificate, now)

    assert "2030-01-05" in phrase
    assert levels(findings) == expected


@pytest.mark.parametrize(("took_s", "expected"), [(0.1, []), (9.0, ["warn"])])
def test_what_takes_longer_than_its_timer_is_a_warning(took_s: float, expected: list[str]) -> None:
    assert levels(answers.judge_connect("gpt", TARGET, took_s)[1]) == expected
    assert levels(answers.judge_first_token("gpt", TARGET, took_s)[1]) == expected


# --- this machine ----------------------------------------------------------------------------------

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("said_s", "ahead_s", "level"),
    [(0.05, 0, "ok"), (-1, 1, "ok"), (1.6, -1.5, "ok"), (-3, 3, "warn"), (60.1, -60, "warn")],
)
def test_clocks_that_differ_are_a_warning(said_s: float, ahead_s: float, level: str) -> None:
    reading = clock.Reading("NATS", at(said_s), asked=NOON, heard=at(0.1))

    assert reading.ahead_s == pytest.approx(ahead_s)
    assert levels([clock.judge(reading)]) == [level]


@pytest.mark.parametrize(
    ("date", "ahead_s"),
    [("Tue, 01 Jan 2030 12:00:00 GMT", 0.0), ("Tue, 01 Jan 2030 11:59:59 GMT", 0.0), ("soon", None), (None, None)],
)
def test_the_date_of_an_answer_is_any_moment_of_its_second(date: str | None, ahead_s: float | None) -> None:
    reading = clock.http_reading("gpt", date, asked=NOON, heard=at(0.1))

    assert (reading and reading.ahead_s) == ahead_s


@pytest.mark.parametrize(("limit", "level"), [(1 << 62, "ok"), (4096, "ok"), (1024, "warn"), (256, "fail")])
def test_open_files_are_counted_against_turns(limit: int, level: str) -> None:
    assert levels(machine.judge_files(Settings(), limit)) == [level]


@pytest.mark.parametrize(("free", "level"), [(50 << 30, "ok"), (500 << 20, "warn"), (5 << 20, "fail")])
def test_a_disk_has_room_for_turn_records(free: int, level: str) -> None:
    assert levels([machine.judge_disk(free)]) == [level]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (12 << 20, "12 MiB"), (3 << 29, "1.5 GiB"), (1 << 41, "2048 GiB")],
)
def test_sizes_are_readable(count: int, text: str) -> None:
    assert size(count) == text


def test_long_lists_are_cut() -> None:
    assert listed(list("abcd"), most=2) == "a, b and 2 more"


# --- time ------------------------------------------------------------------------------------------


async def test_a_section_that_hangs_becomes_a_finding() -> None:
    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    found = await within(0.01, hangs(), lambda: [late("nats", "server", 0.01)])

    assert levels(found) == ["fail"]
    assert exit_code(found) == 2


def test_a_name_service_that_never_answers_does_not_hold_up_the_exit() -> None:
    never = threading.Event()

    async def ask() -> None:
        asyncio.get_running_loop().set_default_executor(Daemons())
        async with asyncio.timeout(0.01):
            await asyncio.to_thread(never.wait)

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    never.set()


@pytest.mark.parametrize(
    ("environ", "keeps_them", "level"),
    [({}, False, "fail"), ({}, True, "warn"), ({"WSEC": " , "}, False, "fail"), ({"WSEC": "wsec_1"}, False, None)],
)
def test_a_webhooks_secret_that_is_not_set_was_found_by_no_check(
    environ: dict[str, str], keeps_them: bool, level: str | None
) -> None:
    """No edge starts without it. In a worker's container it need not be: the stream shows that an edge had it."""
    settings = parse("[hooks]\nelevenlabs_secret_env = 'WSEC'", {})

    found = judge_webhooks(settings, environ, keeps_them=keeps_them)

    assert [(one.name, one.level) for one in found] == ([("webhooks", level)] if level else [])
    assert all("WSEC, which is not set" in one.text and "export WSEC=" in one.cure for one in found)


def test_where_no_webhook_is_taken_no_secret_is_missed() -> None:
    assert judge_webhooks(parse("", {}), {}, keeps_them=False) == []
