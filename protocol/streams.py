"""The streams and consumers on the bus: one table, created where they are missing, by whoever finds that first.

Everything is idempotent. An existing stream is changed only by a process whose `SCHEMA` is higher than the number in
its metadata, so that an old and a new version side by side do not undo each other's work.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from protocol.subjects import Subjects

SCHEMA = 1
HOOK_TYPE = "Trunkline-Hook-Type"
_SCHEMA_KEY, _CONSUMER_KEY = "trunkline.schema", "trunkline.consumer"

ACK_WAIT_S = 0.3  # a lost claim, a lost ack, a frozen worker: all heal by redelivery after this
MAX_WAITING = 16384  # open pulls; the default starves the 513th worker
DUPLICATE_WINDOW_S = 120
API_TIMEOUT_S = 1.0
HOOK_SLOW_S = 60  # from a webhook's header to the stream: more than an edge waits for a body and for us
TURNS_MAX_AGE_S = 7 * 24 * 3600
TURNS_MAX_BYTES = 1 << 30
CALLS_MAX_AGE_S = 3600
CALLS_MAX_BYTES = 64 << 20  # the newest calls: a record has a few kilobytes

STREAM_NOT_FOUND, STREAM_IN_USE, CONSUMER_NOT_FOUND, MAXIMUM_MESSAGES = 10059, 10058, 10014, 10077
WRONG_LAST_SEQUENCE = (10071, 10164)
ONLY_THE_FIRST = {"Nats-Expected-Last-Subject-Sequence": "0"}  # of its subject: where there is one, it is `taken`
CONSUMER_NOT_ALONE = 10099  # a work queue has one consumer
_NS = 1_000_000_000

Request = Callable[[str, bytes, float], Awaitable[bytes]]
"""(subject, data, timeout in seconds) -> answer. Raises TimeoutError, and whatever says that nobody answers."""


class JobLimits(Struct, frozen=True):
    """Bounds of one pool's queue."""

    max_msgs: int = 1000
    max_bytes: int = 256 << 20
    max_age_s: int = 120


class HookLimits(Struct, frozen=True):
    """Bounds of what platforms have sent after calls. `window_s`: how far a signature may lie in past or future."""

    max_age_s: int
    max_bytes: int
    window_s: float


class ResponseLimits(Struct, frozen=True):
    """Bounds of what is kept of responses; old ones make room for new ones."""

    max_age_s: int
    max_bytes: int


class StreamError(Exception):
    """JetStream refuses what we need; the text says what it answered."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (JetStream error {code})")
        self.code = code


class PubAck(Struct, frozen=True):
    """The answer to a publish: `full`, `duplicate` and `taken` are no errors of ours, `error` is."""

    duplicate: bool = False
    full: bool = False
    taken: bool = False
    error: str | None = None


class _ApiError(Struct):
    err_code: int = 0
    description: str = ""


class _PubAckWire(Struct):
    duplicate: bool = False
    error: _ApiError | None = None


_pub_ack = msgspec.json.Decoder(_PubAckWire)


def parse_pub_ack(data: bytes) -> PubAck:
    """Raises msgspec.DecodeError: `data` is no publish ack."""
    ack = _pub_ack.decode(data)
    if ack.error is None:
        return PubAck(duplicate=ack.duplicate)
    if ack.error.err_code in WRONG_LAST_SEQUENCE:
        return PubAck(taken=True)
    # One code for every refusal by the store: only its text tells full from broken.
    full = ack.error.err_code == MAXIMUM_MESSAGES and "maximum" in ack.error.description
    return PubAck(full=full, error=None if full else ack.error.description)


def is_first_delivery(ack: str) -> bool:
    """Whether a delivery with this ack subject is the first of its job.

    Source: nats.go, the subject's two forms: `$JS.ACK.<stream>.<consumer>.<deliveries>.…`, nine words, and with the
    domain and the account before the stream at least eleven.
    """
    words = ack.split(".")
    return words[4 if len(words) == 9 else 6 : 7][:1] == ["1"]


def job_headers(msg_id: str, budget_s: float, trace: dict[str, str]) -> dict[str, str]:
    """Headers of an offer. Whole seconds, rounded up: NATS sweeps, it does not keep deadlines."""
    return {"Nats-Msg-Id": msg_id, "Nats-TTL": str(max(1, -int(-budget_s // 1))), **trace}


def jobs_config(subjects: Subjects, pool: str, limits: JobLimits, consumer: str) -> dict[str, Any]:
    """The stream that keeps one pool's offers until they are claimed."""
    return {
        "name": subjects.jobs_stream(pool),
        "subjects": [subjects.jobs(pool)],
        "retention": "workqueue",
        "storage": "memory",
        "discard": "new",  # a full queue refuses at once
        "max_msgs": limits.max_msgs,
        "max_bytes": limits.max_bytes,
        "max_age": limits.max_age_s * _NS,
        "duplicate_window": DUPLICATE_WINDOW_S * _NS
        if limits.max_age_s >= DUPLICATE_WINDOW_S
        else limits.max_age_s * _NS,
        "allow_msg_ttl": True,
        "num_replicas": 1,
        "metadata": {_SCHEMA_KEY: str(SCHEMA), _CONSUMER_KEY: consumer},
    }


def consumer_config(name: str) -> dict[str, Any]:
    """The one consumer from which all workers of a pool pull."""
    return {
        "durable_name": name,
        "ack_policy": "explicit",
        "ack_wait": int(ACK_WAIT_S * _NS),
        "max_deliver": -1,  # the budget is the bound: a frozen worker's pull goes on taking deliveries
        "max_waiting": MAX_WAITING,
        "max_ack_pending": -1,
        "mem_storage": True,
    }


def turns_config(subjects: Subjects) -> dict[str, Any]:
    """The stream of turn records."""
    return {
        "name": subjects.turns,
        "subjects": [subjects.all_turns],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": TURNS_MAX_AGE_S * _NS,
        "max_bytes": TURNS_MAX_BYTES,
        "duplicate_window": DUPLICATE_WINDOW_S * _NS,
        "num_replicas": 1,
        "metadata": {_SCHEMA_KEY: str(SCHEMA)},
    }


def calls_config(subjects: Subjects) -> dict[str, Any]:
    """The bucket of what calls need from turn to turn; old ones make room for new ones.

    Source: NATS architecture decision record 8, key-value buckets: their streams' names, subjects and settings.
    """
    return {
        "name": subjects.calls_stream,
        "subjects": [f"$KV.{subjects.calls}.>"],
        "retention": "limits",
        "storage": "memory",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "max_age": CALLS_MAX_AGE_S * _NS,
        "max_bytes": CALLS_MAX_BYTES,
        "duplicate_window": DUPLICATE_WINDOW_S * _NS,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "num_replicas": 1,
        "metadata": {_SCHEMA_KEY: str(SCHEMA)},
    }


def responses_config(subjects: Subjects, limits: ResponseLimits) -> dict[str, Any]:
    """The bucket of stored responses. Each has all that led to it, so they are much alike: compressed.

    Source: NATS architecture decision record 8, key-value buckets.
    """
    return {
        "name": subjects.responses_stream,
        "subjects": [f"$KV.{subjects.responses}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "compression": "s2",
        "max_msgs_per_subject": 1,
        "max_age": limits.max_age_s * _NS,
        "max_bytes": limits.max_bytes,
        "duplicate_window": min(DUPLICATE_WINDOW_S, limits.max_age_s) * _NS,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "num_replicas": 1,
        "metadata": {_SCHEMA_KEY: str(SCHEMA)},
    }


def hooks_config(subjects: Subjects, limits: HookLimits) -> dict[str, Any]:
    """The stream of what platforms send after calls. A signature from the far end of the window is good for twice its
    length, and its body may be slow to come: for so long it is known again.
    """
    window_s = min(limits.max_age_s, 2 * limits.window_s + HOOK_SLOW_S)
    return {
        "name": subjects.hooks,
        "subjects": [subjects.all_hooks],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": limits.max_age_s * _NS,
        "max_bytes": limits.max_bytes,
        "duplicate_window": int(window_s * _NS),
        "num_replicas": 1,
        "metadata": {_SCHEMA_KEY: str(SCHEMA)},
    }


def hook_headers(msg_id: str, kind: str) -> dict[str, str]:
    """Headers of what a platform has sent; `kind` is for filters."""
    return {"Nats-Msg-Id": msg_id, **({HOOK_TYPE: kind} if kind else {})}


def schema_of(config: dict[str, Any]) -> int:
    """By which schema a stream was made; 0: by something else."""
    return int(config.get("metadata", {}).get(_SCHEMA_KEY, 0))


def consumer_of(config: dict[str, Any]) -> str:
    """The name of the one consumer that a pool's stream has."""
    return str(config.get("metadata", {}).get(_CONSUMER_KEY) or "workers")


class Streams:
    """Finds or makes the streams.

    `replace_leaderless`: an edge in a cluster may replace a memory stream whose server died.
    """

    def __init__(self, request: Request, subjects: Subjects, limits: JobLimits) -> None:
        self._request = request
        self._subjects = subjects
        self._limits = limits

    async def jobs(self, pool: str, *, replace_leaderless: bool = False) -> str:
        """Make sure of a pool's stream and consumer; the consumer's name.

        Raises:
            StreamError: JetStream refuses.
            TimeoutError: it does not answer.
        """
        name = self._subjects.jobs_stream(pool)
        info = await self._in_memory(name, replace_leaderless=replace_leaderless)
        # Its name is drawn with the stream: sequence numbers start again in a new one, and an ack from an
        # earlier life must hit nothing.
        consumer = f"workers-{secrets.token_hex(4)}"
        info = await self._make(info, jobs_config(self._subjects, pool, self._limits, consumer))
        consumer = consumer_of(info["config"])
        await self._consumer(name, consumer)
        return consumer

    async def turns(self) -> None:
        """Make sure of the stream of turn records. Raises as `jobs`."""
        await self._make(await self._info(self._subjects.turns), turns_config(self._subjects))

    async def calls(self, *, replace_leaderless: bool = False) -> None:
        """Make sure of the bucket of calls. Raises as `jobs`."""
        info = await self._in_memory(self._subjects.calls_stream, replace_leaderless=replace_leaderless)
        await self._make(info, calls_config(self._subjects))

    async def responses(self, limits: ResponseLimits) -> None:
        """Make sure of the bucket of stored responses. Raises as `jobs`."""
        info = await self._info(self._subjects.responses_stream)
        await self._make(info, responses_config(self._subjects, limits))

    async def hooks(self, limits: HookLimits) -> None:
        """Make sure of the stream of what comes after calls. Raises as `jobs`."""
        await self._make(await self._info(self._subjects.hooks), hooks_config(self._subjects, limits))

    async def _in_memory(self, name: str, *, replace_leaderless: bool) -> dict[str, Any] | None:
        """A stream that dies with its server; None: there is none. Raises as `jobs`."""
        try:
            return await self._info(name)
        except TimeoutError:
            if not replace_leaderless:
                raise
            return await self._drop_leaderless(name)

    async def _make(self, info: dict[str, Any] | None, config: dict[str, Any]) -> dict[str, Any]:
        name = config["name"]
        if info is None:
            try:
                return await self._api(f"STREAM.CREATE.{name}", config)
            except StreamError as error:
                if error.code != STREAM_IN_USE:
                    raise
            info = await self._info(name)  # somebody was faster: theirs counts
            if info is None:
                raise StreamError(STREAM_NOT_FOUND, f"stream {name} comes and goes")
        metadata = info["config"].get("metadata", {})
        if schema_of(info["config"]) < SCHEMA:
            config["metadata"] = {**metadata, **config["metadata"], **_kept(metadata)}
            return await self._api(f"STREAM.UPDATE.{name}", config)
        return info

    async def _consumer(self, stream: str, name: str) -> None:
        body = {"stream_name": stream, "config": consumer_config(name)}
        try:
            await self._api(f"CONSUMER.INFO.{stream}.{name}", None)
        except StreamError as error:
            if error.code != CONSUMER_NOT_FOUND:
                raise
            try:
                await self._api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)
            except StreamError as refused:
                if refused.code != CONSUMER_NOT_ALONE:
                    raise
                await self._drop_other_consumers(stream, name)
                await self._api(f"CONSUMER.DURABLE.CREATE.{stream}.{name}", body)

    async def _drop_other_consumers(self, stream: str, name: str) -> None:
        """Of an earlier life: made by somebody who had looked before the stream was made anew."""
        names = (await self._api(f"CONSUMER.NAMES.{stream}", {})).get("consumers") or []
        for other in names:
            if other != name:
                await self._delete(f"CONSUMER.DELETE.{stream}.{other}", gone=CONSUMER_NOT_FOUND)

    async def _drop_leaderless(self, name: str) -> dict[str, Any] | None:
        """Delete a stream that does not answer, after looking once more: two edges must not undo each other's work."""
        await asyncio.sleep(random.uniform(0.05, 0.3))
        try:
            return await self._info(name)
        except TimeoutError:
            await self._delete(f"STREAM.DELETE.{name}", gone=STREAM_NOT_FOUND)
            return None

    async def _delete(self, verb: str, *, gone: int) -> None:
        """Whoever was faster has done it for us: `gone` is no error."""
        try:
            await self._api(verb, None)
        except StreamError as error:
            if error.code != gone:
                raise

    async def _info(self, name: str) -> dict[str, Any] | None:
        try:
            return await self._api(f"STREAM.INFO.{name}", None)
        except StreamError as error:
            if error.code == STREAM_NOT_FOUND:
                return None
            raise

    async def _api(self, verb: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = msgspec.json.encode(body) if body is not None else b""
        answer: dict[str, Any] = msgspec.json.decode(await self._request(f"$JS.API.{verb}", data, API_TIMEOUT_S))
        if "error" in answer:
            error = answer["error"]
            raise StreamError(int(error.get("err_code", 0)), str(error.get("description", "unknown error")))
        return answer


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    """The consumer of a stream is drawn once, with the stream."""
    return {key: value for key, value in metadata.items() if key == _CONSUMER_KEY}


def direct_get(stream: str, subject: str) -> str:
    """Where any server that has the stream answers with the last message of a subject, as it was published."""
    return f"$JS.API.DIRECT.GET.{stream}.{subject}"


def purge_request(stream: str, subject: str) -> tuple[str, bytes]:
    """Subject and body that remove one subject's messages, a running redelivery included."""
    return f"$JS.API.STREAM.PURGE.{stream}", msgspec.json.encode({"filter": subject})


def pull_request(stream: str, consumer: str, batch: int, expires_s: float) -> tuple[str, bytes]:
    """Subject and body of one pull."""
    body = {"batch": batch, "expires": int(expires_s * _NS)}
    return f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", msgspec.json.encode(body)
