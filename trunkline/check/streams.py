"""Whether the streams and consumers on the bus are those that this Trunkline would make. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from protocol.streams import (
    SCHEMA,
    HookLimits,
    JobLimits,
    ResponseLimits,
    calls_config,
    consumer_config,
    consumer_of,
    hooks_config,
    jobs_config,
    responses_config,
    schema_of,
    turns_config,
)
from protocol.subjects import Subjects
from trunkline.check.findings import Finding, fail, ok, warn
from trunkline.check.sizes import size
from trunkline.listen import StreamInfo

SECTION, TURNS, CALLS, HOOKS, RESPONSES = "streams", "TURNS", "CALLS", "WEBHOOKS", "RESPONSES"
BOUNDS = {"max_msgs", "max_bytes", "max_age", "duplicate_window", "num_replicas"}  # another value still works
NANOSECONDS = {"max_age", "duplicate_window", "ack_wait"}
NEARLY_FULL = 0.8


class Difference(NamedTuple):
    """One setting that is not as we would make it."""

    key: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.key} is {_shown(self.key, self.actual)}, not {_shown(self.key, self.expected)}"


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[Difference]:
    """What of `expected` is otherwise. The server leaves out what is false or zero, and adds defaults of its own."""
    return [
        Difference(key, value, actual.get(key))
        for key, value in expected.items()
        if key != "metadata" and value != actual.get(key, type(value)())
    ]


def judge_jobs(
    subjects: Subjects, pool: str, limits: JobLimits, info: StreamInfo | None, consumers: Sequence[dict[str, Any]]
) -> list[Finding]:
    """The queue of one pool, and its one consumer."""
    name = f"JOBS_{pool}"
    if info is None:
        return [_missing(name, subjects.jobs_stream(pool), f"start a worker of pool {pool}: it makes the stream")]
    consumer = consumer_of(info.config)
    found = [
        *_schema(name, info),
        *_settings(name, info, differences(jobs_config(subjects, pool, limits, consumer), info.config)),
        *_consumer(name, info.name, consumer, consumers),
        *_nearly_full(name, info, pool),
    ]
    return found or [ok(SECTION, name, f"{info.state.messages} of {info.config.get('max_msgs')} jobs wait")]


def judge_turns(subjects: Subjects, info: StreamInfo | None) -> list[Finding]:
    """The stream of turn records."""
    if info is None:
        return [_missing(TURNS, subjects.turns, "start an edge: it makes the stream")]
    found = [
        *_schema(TURNS, info),
        *_settings(TURNS, info, differences(turns_config(subjects), info.config)),
    ]
    return found or [ok(SECTION, TURNS, f"{info.state.messages} records, {size(info.state.bytes)}")]


def judge_calls(subjects: Subjects, info: StreamInfo | None) -> list[Finding]:
    """The bucket of what calls need from turn to turn; turns go on without."""
    if info is None:
        return [_missing(CALLS, subjects.calls_stream, "start an edge: it makes the stream")]
    found = [*_schema(CALLS, info), *_settings(CALLS, info, differences(calls_config(subjects), info.config))]
    return found or [ok(SECTION, CALLS, f"{info.state.messages} calls, {size(info.state.bytes)}")]


def judge_hooks(subjects: Subjects, limits: HookLimits, info: StreamInfo | None) -> list[Finding]:
    """The stream of what platforms send after calls."""
    if info is None:
        return [_missing(HOOKS, subjects.hooks, "start an edge: it makes the stream")]
    found = [*_schema(HOOKS, info), *_edited(HOOKS, info, differences(hooks_config(subjects, limits), info.config))]
    return found or [ok(SECTION, HOOKS, f"{info.state.messages} webhooks, {size(info.state.bytes)}")]


def judge_responses(subjects: Subjects, limits: ResponseLimits, info: StreamInfo | None) -> list[Finding]:
    """The bucket of responses that conversations go on from."""
    if info is None:
        return [_missing(RESPONSES, subjects.responses_stream, "start an edge: it makes the stream")]
    wrong = differences(responses_config(subjects, limits), info.config)
    found = [*_schema(RESPONSES, info), *_edited(RESPONSES, info, wrong)]
    return found or [ok(SECTION, RESPONSES, f"{info.state.messages} responses, {size(info.state.bytes)}")]


def _missing(name: str, stream: str, cure: str) -> Finding:
    return warn(SECTION, name, f"there is no stream {stream} yet", cure)


def _schema(name: str, info: StreamInfo) -> list[Finding]:
    schema = schema_of(info.config)
    if schema == SCHEMA:
        return []
    if schema > SCHEMA:
        text, cure = f"a newer Trunkline has made it (schema {schema}, ours is {SCHEMA})", "update this Trunkline"
    elif schema:
        text, cure = f"an older Trunkline has made it (schema {schema}, ours is {SCHEMA})", _anew("changes")
    else:
        text, cure = "it has no schema number: something else has made it", _anew("changes")
    return [warn(SECTION, name, text, cure)]


def _settings(name: str, info: StreamInfo, found: list[Difference]) -> list[Finding]:
    if not found:
        return []
    text, cure = "; ".join(map(str, found)), f"once no turn runs, `nats stream rm {info.name}`; {_anew('makes')}"
    level = warn if {difference.key for difference in found} <= BOUNDS else fail
    return [level(SECTION, name, text, cure)]


def _edited(name: str, info: StreamInfo, found: list[Difference]) -> list[Finding]:
    """The same of a stream whose messages are worth something."""
    if not found:
        return []
    level = warn if {difference.key for difference in found} <= BOUNDS else fail
    cure = f"change it with `nats stream edit {info.name}`; made anew, it would be empty"
    return [level(SECTION, name, "; ".join(map(str, found)), cure)]


def _anew(verb: str) -> str:
    return f"the next process that starts {verb} it as it should be"


def _consumer(label: str, stream: str, name: str, consumers: Sequence[dict[str, Any]]) -> list[Finding]:
    cure = f"restart the workers; else `nats consumer rm {stream}`, then restart them"
    by_name = {str(consumer.get("durable_name") or consumer.get("name")): consumer for consumer in consumers}
    if name not in by_name:
        has = f"it has {', '.join(sorted(by_name))}" if by_name else "it has none"
        return [fail(SECTION, label, f"the consumer {name} is missing, so nobody takes jobs: {has}", cure)]
    if found := differences(consumer_config(name), by_name[name]):
        return [fail(SECTION, label, "; ".join(map(str, found)), cure)]
    return []


def _nearly_full(name: str, info: StreamInfo, pool: str) -> list[Finding]:
    bounds = [("jobs", info.state.messages, "max_msgs"), ("bytes", info.state.bytes, "max_bytes")]
    return [
        warn(
            SECTION,
            name,
            f"{held} of {info.config[bound]} {noun} wait: the queue is nearly full, then turns get a 503",
            f"add workers to pool {pool}, or raise worker.slots",
        )
        for noun, held, bound in bounds
        if 0 < info.config.get(bound, 0) * NEARLY_FULL <= held
    ]


def _shown(key: str, value: Any) -> str:
    if key in NANOSECONDS and isinstance(value, int):
        return f"{value / 1e9:g} s"
    if key == "max_bytes" and isinstance(value, int) and value > 0:
        return size(value)
    return "unset" if value is None else str(value)
