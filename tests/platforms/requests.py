"""What each platform sends: headers and body of one request. Pure.

The sources are those of `tests/fixtures`, whose files show the same requests whole.
"""

from collections.abc import Callable, Sequence
from typing import Any

Message = dict[str, Any]
Request = tuple[dict[str, str], dict[str, Any]]

PROMPT = "You are the front desk of Acme. Be brief."
DEEPGRAM_CHARS = 1500  # context_length: the history is cut by characters, wherever that falls


def _object(*required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


TEXT, WHOLE_NUMBER = {"type": "string"}, {"type": "integer"}
ELEVENLABS: dict[str, dict[str, Any]] = {
    "end_call": _object("reason", reason=TEXT, message=TEXT),
    "language_detection": _object("reason", "language", reason=TEXT, language=TEXT),
    "transfer_to_agent": _object("agent_number", agent_number=WHOLE_NUMBER, reason=TEXT),
    "transfer_to_number": _object(
        "transfer_number",
        "client_message",
        "agent_message",
        transfer_number=TEXT,
        client_message=TEXT,
        agent_message=TEXT,
        reason=TEXT,
    ),
    "skip_turn": _object(reason=TEXT),
    "voicemail_detection": _object("reason", reason=TEXT),
    "play_keypad_touch_tone": _object("dtmf_tones", dtmf_tones=TEXT, reason=TEXT),
    "get_hours": _object("day", day=TEXT),
}
"""Its system tools, and one of the agent's own."""
VAPI = {
    "endCall": _object(),
    "transferCall": _object("destination", destination=TEXT),
    "get_hours": _object("day", day=TEXT),
}
PLAIN = {name: ELEVENLABS[name] for name in ("end_call", "language_detection", "transfer_to_agent", "get_hours")}


def offered(schemas: dict[str, dict[str, Any]], **more: object) -> list[dict[str, Any]]:
    """The field `tools`."""
    return [
        {"type": "function", "function": {"name": name, "description": f"{name}.", "parameters": schema, **more}}
        for name, schema in schemas.items()
    ]


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Every property is required, and those that were optional may be null.

    Source: livekit-agents 1.7.0, llm/utils.py, build_strict_openai_schema.
    """
    wanted = schema["required"]
    properties = {
        name: told if name in wanted else {"anyOf": [told, {"type": "null"}]}
        for name, told in schema["properties"].items()
    }
    return {**schema, "properties": properties, "required": list(properties), "additionalProperties": False}


def elevenlabs(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    """`request_headers` fills in system__conversation_id; `max_tokens` -1 is its "unlimited"."""
    body = {
        "model": model,
        "stream": True,
        "temperature": 0.0,
        "max_tokens": -1,
        "messages": list(messages),
        "tools": offered(ELEVENLABS),
        "user_id": "u-42",
        "elevenlabs_extra_body": {"tenant": "t1", "customer_name": "Ada"},
    }
    return {"X-Conversation-Id": call_id}, body


def assemblyai(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    """No call id: nothing is published but the three fields."""
    return {}, {"model": model, "stream": True, "messages": list(messages), "tools": offered(PLAIN)}


def livekit(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    headers = {
        "User-Agent": "LiveKit Agents/1.7.0 (python 3.12.4)",
        "X-LiveKit-Room-ID": f"RM_{call_id}",
        "X-LiveKit-Job-ID": call_id,
        "X-LiveKit-Agent-ID": "AG_c3",
        "X-LiveKit-Session-ID": f"{id(messages):x}",  # another one with every request
        "X-LiveKit-Worker-Token": "worker-token-of-livekit",
        "x-stainless-read-timeout": f"{patience_s:g}",
        "x-stainless-retry-count": "0",
    }
    schemas = {name: _strict(schema) for name, schema in PLAIN.items()}
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": list(messages),
        "tools": offered(schemas, strict=True),
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }
    return headers, body


def pipecat(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    """The call id is what the application adds, by its client's `default_headers`."""
    headers = {
        "User-Agent": "AsyncOpenAI/Python 2.8.0",
        "X-Call-Id": call_id,
        "x-stainless-retry-count": "0",
        "x-stainless-read-timeout": "600",
    }
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": list(messages),
        "tools": offered(PLAIN),
        "tool_choice": "auto",
    }
    return headers, body


def vapi(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    body = {
        "model": model,
        "stream": True,
        "temperature": 0.5,
        "max_tokens": 250,
        "messages": list(messages),
        "tools": offered(VAPI),
        "call": {"id": call_id, "orgId": "o-1", "type": "inboundPhoneCall"},
        "phoneNumber": {"id": "p-1", "number": "+15550100"},
        "customer": {"number": "+15550199"},
        "metadata": {"tenant": "t1"},
        "timestamp": 1_795_000_000_000,
    }
    return {"x-stainless-retry-count": "0"}, body


def fish(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    """The time stands in a system message of its own, before what the caller said last."""
    told = list(messages)
    last = max(at for at, message in enumerate(told) if message["role"] == "user")
    told.insert(last, {"role": "system", "content": "Current date and time: Friday, 20 November 2026, 10:20"})
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": told,
        "tools": offered(PLAIN),
        "session_id": call_id,
        "user_id": "user-42",
        "fishaudio_extra_body": {"chat_id": "chat-9"},
    }
    return {}, body


def deepgram(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    """`endpoint.headers` name the call; the history loses its beginning, with no regard to what belongs together."""
    system, *said = messages
    while sum(len(str(message.get("content") or "")) for message in said) > DEEPGRAM_CHARS:
        said.pop(0)
    body = {
        "model": model,
        "stream": True,
        "temperature": 0.7,
        "messages": [system, *said],
        "tools": offered(PLAIN),
    }
    return {"X-Call-Id": call_id}, body


def telnyx(messages: Sequence[Message], model: str, call_id: str, patience_s: float) -> Request:
    metadata = {"call_control_id": call_id, "telnyx_conversation_channel": "phone_call", "plan": "gold"}
    body = {"model": model, "stream": True, "messages": list(messages), "tools": offered(PLAIN)}
    return {}, {**body, "extra_metadata": metadata}


REQUESTS: dict[str, Callable[[Sequence[Message], str, str, float], Request]] = {
    "elevenlabs": elevenlabs,
    "assemblyai": assemblyai,
    "livekit": livekit,
    "pipecat": pipecat,
    "vapi": vapi,
    "fish": fish,
    "deepgram": deepgram,
    "telnyx": telnyx,
}
NAMED = {"elevenlabs", "livekit", "pipecat", "vapi", "fish", "deepgram", "telnyx"}
"""Those whose requests say which call they belong to."""
