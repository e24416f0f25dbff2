"""Message <-> bytes: the only encoder and decoders of the bus.

A batch is `[worker_id, [frame, ...]]`, a frame `[line, claim, seq, [tag, ...]]`.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from protocol.messages import Answer, Control, Frame, Heard, Here, Hook, Job, TurnRecord

DecodeError = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""All that a decoder raises on bytes that are none of ours."""


ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.)", re.DOTALL)
"""Of JSON: a surrogate pair, half of one (the group), or any other."""


def without_halves(data: bytes) -> bytes:
    """JSON without escaped halves of surrogate pairs: of an emoji that was cut in two. They are no text."""
    return ESCAPE.sub(lambda escape: b"" if escape[1] else escape[0], data)


class Addressed(Struct, frozen=True, array_like=True, gc=False):
    """A frame with its place: which offer, which claim of it, which number. None: of a newer version."""

    line: int
    claim: int
    seq: int
    frame: Frame | None


class _Batch(Struct, array_like=True):
    worker_id: str
    frames: list[Addressed]


class _RawAddressed(Struct, array_like=True):
    line: int
    claim: int
    seq: int
    frame: Raw


class _RawBatch(Struct, array_like=True):
    worker_id: str
    frames: list[_RawAddressed]


_encoder = msgspec.msgpack.Encoder()
_batch = msgspec.msgpack.Decoder(_Batch)
_raw_batch = msgspec.msgpack.Decoder(_RawBatch)
_frame = msgspec.msgpack.Decoder(Frame)
_job = msgspec.msgpack.Decoder(Job)
_control = msgspec.msgpack.Decoder(Control)
_answer = msgspec.msgpack.Decoder(Answer)
_here = msgspec.msgpack.Decoder(Here)
_record_json = msgspec.json.Encoder()
_record = msgspec.json.Decoder(TurnRecord)
_heard = msgspec.json.Decoder(Heard)
_hook = msgspec.json.Decoder(Hook)


def encode(message: Job | Control | Answer | Here) -> bytes:
    """One message as msgpack."""
    return _encoder.encode(message)


def encode_batch(worker_id: str, frames: Iterable[Addressed]) -> bytes:
    """Frames of one worker for one edge, as one message."""
    return _encoder.encode((worker_id, frames))


def decode_batch(data: bytes) -> tuple[str, list[Addressed]]:
    """The worker and its frames. A frame of an unknown kind comes as None: it counts as received.

    Raises:
        one of `DecodeError`: `data` is no batch at all.
    """
    try:
        batch = _batch.decode(data)
    except msgspec.ValidationError:
        raw = _raw_batch.decode(data)
        return raw.worker_id, [Addressed(f.line, f.claim, f.seq, _known(f.frame)) for f in raw.frames]
    return batch.worker_id, batch.frames


def _known(data: Raw) -> Any:
    try:
        return _frame.decode(data)
    except DecodeError:
        return None


def decode_job(data: bytes) -> Job:
    """Raises one of `DecodeError`."""
    return _job.decode(data)


def decode_control(data: bytes) -> Control:
    """Raises one of `DecodeError`."""
    control: Control = _control.decode(data)
    return control


def decode_answer(data: bytes) -> Answer:
    """Raises one of `DecodeError`."""
    return _answer.decode(data)


def decode_here(data: bytes) -> Here:
    """Raises one of `DecodeError`."""
    return _here.decode(data)


def encode_record(record: TurnRecord | Heard) -> bytes:
    """A turn record, or an amendment to one, as JSON: strangers read it."""
    return _record_json.encode(record)


def decode_record(data: bytes) -> TurnRecord:
    """Raises one of `DecodeError`."""
    return _record.decode(data)


def decode_heard(data: bytes) -> Heard:
    """Raises one of `DecodeError`."""
    return _heard.decode(data)


def encode_hook(hook: Hook) -> bytes:
    """What came after a call as JSON, its body as it came."""
    return _record_json.encode(hook)


def decode_hook(data: bytes) -> Hook:
    """Raises one of `DecodeError`."""
    return _hook.decode(data)
