"""The stream of webhooks as an edge writes it, on a bus that answers what a test says."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest
from msgspec import Raw

from edge.hook_stream import HookStream
from protocol.errors import TooLarge
from protocol.messages import Hook
from protocol.streams import HookLimits, StreamError
from protocol.subjects import Subjects
from protocol.wire import NoResponders

NAMES = Subjects("tl")
LIMITS = HookLimits(max_age_s=86_400, max_bytes=1 << 20, window_s=1800)


class Bus:
    """Answers publications by turns; whatever JetStream is asked to make, it makes."""

    max_payload = 3000

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    async def request(
        self, subject: str, data: bytes, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        self.asked.append(subject)
        if subject.startswith("$JS.API.STREAM.INFO"):
            return msgspec.json.encode({"error": {"err_code": 10059, "description": "stream not found"}})
        if subject.startswith("$JS.API.STREAM.CREATE"):
            return b"{}"
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return msgspec.json.encode(answer)


async def kept(bus: Bus, body: bytes = b"{}") -> bool:
    hook = Hook(platform="elevenlabs", received_at="2026-11-21T10:00:00+00:00", body=Raw(body), conversation_id="c")
    return await HookStream(cast(Any, bus), NAMES, LIMITS).keep(hook, "id")


async def test_an_acknowledgement_says_whether_it_was_known() -> None:
    assert not await kept(Bus({"stream": "tl_1_WEBHOOKS", "seq": 1}))
    assert await kept(Bus({"stream": "tl_1_WEBHOOKS", "seq": 1, "duplicate": True}))


async def test_a_stream_that_is_gone_is_made_anew_and_tried_once_more() -> None:
    bus = Bus(NoResponders(), {"stream": "tl_1_WEBHOOKS", "seq": 1})

    assert not await kept(bus)

    subject = NAMES.hook("elevenlabs", "c")
    assert bus.asked == [
        subject,
        "$JS.API.STREAM.INFO.tl_1_WEBHOOKS",
        "$JS.API.STREAM.CREATE.tl_1_WEBHOOKS",
        subject,
    ]


async def test_a_stream_that_stays_away_is_not_waited_for() -> None:
    with pytest.raises(NoResponders):
        await kept(Bus(NoResponders(), NoResponders()))


async def test_a_refusal_by_the_store_is_none_of_the_known_answers() -> None:
    refusal = {"error": {"err_code": 10077, "description": "insufficient storage resources available"}}

    with pytest.raises(StreamError, match="insufficient storage"):
        await kept(Bus(refusal))


async def test_what_would_not_fit_in_base64_is_not_sent() -> None:
    bus = Bus()

    with pytest.raises(TooLarge):
        await kept(bus, b'"' + b"x" * 1600 + b'"')

    assert bus.asked == []
