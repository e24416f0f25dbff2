"""As much of JetStream as the two halves of the bus use, in one process. What nats-server 2.15 does, and no more.

Times are the simulation's, in seconds.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from protocol.wire import Arrived
from tests.virtual_time import Simulation

NS = 1e9
STREAM_NOT_FOUND, STREAM_IN_USE, CONSUMER_NOT_FOUND, CONSUMER_NOT_ALONE, MAXIMUM = 10059, 10058, 10014, 10099, 10077
WRONG_LAST_SEQUENCE = 10071
API = "$JS.API."
ACKS = "$JS.ACK."
DIRECT_GET = f"{API}DIRECT.GET."
BUCKETS = "$KV."


class Refusal(Exception):
    """An error of JetStream's own."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.body = {"error": {"code": status, "err_code": code, "description": text}}


@dataclass
class Stored:
    """A message that a stream keeps."""

    seq: int
    subject: str
    data: bytes
    headers: Mapping[str, str]
    expires_at: float


@dataclass
class Pull:
    """An open request for messages."""

    reply: str
    left: int
    open: bool = True


@dataclass
class Consumer:
    """Who hands a stream's messages out, each to one pull at a time."""

    name: str
    ack_wait_s: float
    delivered: int = 0  # up to which number messages have gone out at least once
    waiting: deque[Pull] = field(default_factory=deque)
    unacknowledged: dict[int, int] = field(default_factory=dict)  # number -> deliveries
    again: deque[int] = field(default_factory=deque)


@dataclass
class Stream:
    """Messages in order, with their consumers."""

    config: dict[str, Any]
    messages: dict[int, Stored] = field(default_factory=dict)
    consumers: dict[str, Consumer] = field(default_factory=dict)
    last_seq: int = 0
    ids: dict[str, float] = field(default_factory=dict)  # message id -> when it came

    @property
    def in_memory(self) -> bool:
        """Whether it goes with its server."""
        return bool(self.config.get("storage") == "memory")


class JetStream:
    """Streams, consumers, and what the server answers about them."""

    def __init__(
        self,
        simulation: Simulation,
        send: Callable[[str, str, Arrived], None],
        listens: Callable[[str], bool],
    ) -> None:
        self.streams: dict[str, Stream] = {}
        self._simulation = simulation
        self._send = send  # (kind of message, to whom, message)
        self._listens = listens

    # --- publishing ----------------------------------------------------------------------------------

    def takes(self, subject: str) -> Stream | None:
        """The stream that keeps this subject."""
        for stream in self.streams.values():
            if any(matches(pattern, subject) for pattern in stream.config["subjects"]):
                return stream
        return None

    def publish(self, stream: Stream, message: Arrived) -> None:
        """Keep a message, or say why not."""
        try:
            answer = self._store(stream, message)
        except Refusal as refusal:
            answer = {**refusal.body, "stream": stream.config["name"], "seq": 0}
        if message.reply:
            self._send("pub_ack", message.reply, Arrived(message.reply, msgspec.json.encode(answer)))
        for consumer in stream.consumers.values():
            self._deal(stream, consumer)

    def _store(self, stream: Stream, message: Arrived) -> dict[str, Any]:
        now, config, headers = self._simulation.now, stream.config, message.headers or {}
        name, message_id = config["name"], headers.get("Nats-Msg-Id")
        window_s = config.get("duplicate_window", 120 * NS) / NS
        stream.ids = {known: at for known, at in stream.ids.items() if now - at < window_s}
        if message_id in stream.ids:  # before the bounds: an id that is stored is known in a full queue too
            return {"stream": name, "seq": stream.last_seq, "duplicate": True}
        if config.get("discard") == "new":
            if 0 < config.get("max_msgs", -1) <= len(stream.messages):
                raise Refusal(MAXIMUM, "maximum messages exceeded", 503)
            size = sum(len(kept.data) for kept in stream.messages.values()) + len(message.data)
            if 0 < config.get("max_bytes", -1) < size:
                raise Refusal(MAXIMUM, "maximum bytes exceeded", 503)
        expected = headers.get("Nats-Expected-Last-Subject-Sequence")
        if expected is not None:
            last = max((seq for seq, kept in stream.messages.items() if kept.subject == message.subject), default=0)
            if last != int(expected):
                raise Refusal(WRONG_LAST_SEQUENCE, f"wrong last sequence: {last}")
        if config.get("max_msgs_per_subject") == 1:
            for seq in [seq for seq, kept in stream.messages.items() if kept.subject == message.subject]:
                del stream.messages[seq]
        stream.last_seq += 1
        if message_id:
            stream.ids[message_id] = now
        age_s = config.get("max_age", 0) / NS or float("inf")
        if config.get("allow_msg_ttl") and "Nats-TTL" in headers:
            age_s = min(age_s, float(headers["Nats-TTL"]))
        kept = Stored(stream.last_seq, message.subject, message.data, headers, now + age_s)
        stream.messages[kept.seq] = kept
        if age_s < float("inf"):
            self._simulation.call_later(age_s, lambda: stream.messages.pop(kept.seq, None))
        return {"stream": name, "seq": kept.seq}

    # --- delivery ------------------------------------------------------------------------------------

    def pull(self, subject: str, message: Arrived) -> bool:
        """`CONSUMER.MSG.NEXT`. False: nobody answers there."""
        stream, consumer = self._find(*subject.split(".")[-2:])
        if stream is None or consumer is None:
            return False
        asked = msgspec.json.decode(message.data)
        pull = Pull(message.reply, asked["batch"])
        consumer.waiting.append(pull)
        self._simulation.call_later(asked["expires"] / NS, lambda: self._expire(consumer, pull))
        self._deal(stream, consumer)
        return True

    def direct_get(self, subject: str, reply: str) -> bool:
        """`DIRECT.GET` of the last message of a subject. False: nobody answers there."""
        name, _, wanted = subject.removeprefix(DIRECT_GET).partition(".")
        stream = self.streams.get(name)
        if stream is None or not stream.config.get("allow_direct"):
            return False
        kept = [message for message in stream.messages.values() if message.subject == wanted]
        answer = Arrived(reply, kept[-1].data) if kept else Arrived(reply, b"", status="404")
        self._send("call answer", reply, answer)
        return True

    def _find(self, stream_name: str, consumer_name: str) -> tuple[Stream | None, Consumer | None]:
        stream = self.streams.get(stream_name)
        return stream, stream.consumers.get(consumer_name) if stream else None

    def _expire(self, consumer: Consumer, pull: Pull) -> None:
        if pull.open:
            pull.open = False
            consumer.waiting.remove(pull)
            self._send("status", pull.reply, Arrived(pull.reply, b"", status="408"))

    def _deal(self, stream: Stream, consumer: Consumer) -> None:
        """Hand out what is there, one message to each pull in turn."""
        while self._listener(consumer) is not None and (seq := self._next(stream, consumer)) is not None:
            pull = consumer.waiting.popleft()
            pull.left -= 1
            pull.open = pull.left > 0
            if pull.open:
                consumer.waiting.append(pull)
            self._deliver(stream, consumer, stream.messages[seq], pull.reply)

    def _listener(self, consumer: Consumer) -> Pull | None:
        while consumer.waiting and not self._listens(consumer.waiting[0].reply):
            consumer.waiting.popleft().open = False
        return consumer.waiting[0] if consumer.waiting else None

    def _next(self, stream: Stream, consumer: Consumer) -> int | None:
        while consumer.again:
            seq = consumer.again.popleft()
            if seq in stream.messages:
                return seq
        while consumer.delivered < stream.last_seq:
            consumer.delivered += 1
            if consumer.delivered in stream.messages:
                return consumer.delivered
        return None

    def _deliver(self, stream: Stream, consumer: Consumer, kept: Stored, reply: str) -> None:
        count = consumer.unacknowledged[kept.seq] = consumer.unacknowledged.get(kept.seq, 0) + 1
        ack = f"{ACKS}{stream.config['name']}.{consumer.name}.{count}.{kept.seq}.{kept.seq}.0.0"
        self._send("delivery", reply, Arrived(kept.subject, kept.data, ack, kept.headers))
        self._simulation.call_later(consumer.ack_wait_s, lambda: self._late(stream, consumer, kept.seq, count))

    def _late(self, stream: Stream, consumer: Consumer, seq: int, count: int) -> None:
        """Not acknowledged in time: to somebody else."""
        if consumer.unacknowledged.get(seq) != count or self.streams.get(stream.config["name"]) is not stream:
            return
        if seq in stream.messages:
            consumer.again.append(seq)
            self._deal(stream, consumer)
        else:
            del consumer.unacknowledged[seq]

    def acknowledge(self, subject: str, word: bytes) -> None:
        """+ACK and +TERM end a message of a work queue. One of an earlier life hits nothing."""
        name, consumer_name, _, seq, *_ = subject.removeprefix(ACKS).split(".")
        stream, consumer = self._find(name, consumer_name)
        if stream is None or consumer is None or word not in (b"+ACK", b"+TERM"):
            return
        if consumer.unacknowledged.pop(int(seq), None) is not None:
            stream.messages.pop(int(seq), None)

    # --- administration ------------------------------------------------------------------------------

    def api(self, subject: str, data: bytes) -> bytes:
        """One request to the API."""
        verb, _, rest = subject.removeprefix(API).partition(".")
        action, _, names = rest.partition(".")
        if verb == "CONSUMER" and action == "DURABLE":
            action, _, names = names.partition(".")
        answer = getattr(self, f"_{verb}_{action}".lower())
        body = msgspec.json.decode(data) if data else {}
        try:
            return msgspec.json.encode(answer(*names.split("."), body=body))
        except Refusal as refusal:
            return msgspec.json.encode(refusal.body)

    def _stream(self, name: str) -> Stream:
        if name not in self.streams:
            raise Refusal(STREAM_NOT_FOUND, "stream not found", 404)
        return self.streams[name]

    def _stream_info(self, name: str, body: Any) -> dict[str, Any]:
        stream = self._stream(name)
        return {"config": stream.config, "state": {"messages": len(stream.messages), "last_seq": stream.last_seq}}

    def _stream_create(self, name: str, body: Any) -> dict[str, Any]:
        if name in self.streams and self.streams[name].config != body:
            raise Refusal(STREAM_IN_USE, "stream name already in use with a different configuration")
        self.streams.setdefault(name, Stream(body))
        return self._stream_info(name, body)

    def _stream_update(self, name: str, body: Any) -> dict[str, Any]:
        self._stream(name).config = body
        return self._stream_info(name, body)

    def _stream_delete(self, name: str, body: Any) -> dict[str, Any]:
        self._stream(name)
        self.drop(name)
        return {"success": True}

    def _stream_purge(self, name: str, body: Any) -> dict[str, Any]:
        stream = self._stream(name)
        gone = [seq for seq, kept in stream.messages.items() if matches(body.get("filter", ">"), kept.subject)]
        for seq in gone:
            del stream.messages[seq]
        return {"success": True, "purged": len(gone)}

    def _consumer_info(self, stream_name: str, name: str, body: Any) -> dict[str, Any]:
        consumer = self._stream(stream_name).consumers.get(name)
        if consumer is None:
            raise Refusal(CONSUMER_NOT_FOUND, "consumer not found", 404)
        return {"name": name, "num_waiting": len(consumer.waiting), "num_ack_pending": len(consumer.unacknowledged)}

    def _consumer_create(self, stream_name: str, name: str, body: Any) -> dict[str, Any]:
        consumers = self._stream(stream_name).consumers
        if consumers and name not in consumers:
            raise Refusal(CONSUMER_NOT_ALONE, "multiple non-filtered consumers not allowed on workqueue stream")
        consumers.setdefault(name, Consumer(name, body["config"]["ack_wait"] / NS))
        return {"name": name}

    def drop(self, name: str) -> None:
        """Delete a stream: whoever waits for its messages is told."""
        for pull in _close_pulls(self.streams.pop(name)):
            self._send("status", pull.reply, Arrived(pull.reply, b"", status="409"))

    def restart(self) -> None:
        """What was in memory alone is gone; nobody waits any more."""
        for name, stream in list(self.streams.items()):
            _close_pulls(stream)
            if stream.in_memory:
                del self.streams[name]


def _close_pulls(stream: Stream) -> list[Pull]:
    closed = [pull for consumer in stream.consumers.values() for pull in consumer.waiting]
    for consumer in stream.consumers.values():
        consumer.waiting.clear()
    for pull in closed:
        pull.open = False
    return closed


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a pattern with `*` and `>`."""
    return pattern == subject or _regex(pattern).fullmatch(subject) is not None


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    tokens = {"*": "[^.]+", ">": ".+"}
    return re.compile(r"\.".join(tokens.get(token) or re.escape(token) for token in pattern.split(".")))
