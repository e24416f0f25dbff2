"""What a platform sends after a call, signed as ElevenLabs signs it, and what a line has kept of it."""

import hmac
import io
import json
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import aiohttp
import nats
from nats.js.errors import NotFoundError

from protocol import codec
from protocol.messages import Hook

SECRET, SECRET_VARIABLE = "wsec_of_this_line", "ELEVENLABS_WEBHOOK_SECRET"
HOOKS_ENV = {"TRUNKLINE_HOOKS__ELEVENLABS_SECRET_ENV": SECRET_VARIABLE, SECRET_VARIABLE: SECRET}


def event(kind: str = "post_call_transcription", conversation_id: str = "conv_42", **data: Any) -> bytes:
    """A body."""
    said = {"agent_id": "agent_7", "conversation_id": conversation_id, **data}
    return json.dumps({"type": kind, "event_timestamp": int(time.time()), "data": said}).encode()


def signed(body: bytes, *, secret: str = SECRET, age_s: int = 0) -> dict[str, str]:
    """The headers that go with it."""
    at = int(time.time()) - age_s
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return {"ElevenLabs-Signature": f"t={at},v0={digest}", "Content-Type": "application/json"}


async def send(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """Status and answer of the edge at `url`."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/hooks/elevenlabs", data=io.BytesIO(body), headers=headers or signed(body)) as answer,
    ):
        return answer.status, await answer.json()


async def kept(nats_url: str, prefix: str = "trunkline") -> list[tuple[str, Mapping[str, str], Hook]]:
    """Subject, headers and content of all that the stream has."""
    connection = await nats.connect(nats_url)
    try:
        jetstream = connection.jetstream()
        stream = f"{prefix}_1_WEBHOOKS"
        state = (await jetstream.stream_info(stream)).state
        found = [await jetstream.get_msg(stream, number) for number in range(1, state.last_seq + 1)]
        return [(one.subject or "", one.headers or {}, codec.decode_hook(one.data or b"")) for one in found]
    except NotFoundError:
        return []
    finally:
        await connection.close()
