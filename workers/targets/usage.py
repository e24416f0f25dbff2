"""What a try at a target cost, in tokens and in money. Pure but for the thread in which large texts are counted.

Source of the rules for messages and tools: OpenAI's cookbook, "How to count tokens with tiktoken", sections 6 and 7,
with the figures of gpt-4o. Its own examples come out to the token; images and other parts that are no text count
nothing.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any

from protocol.errors import Draining, Interrupted, ServiceError, Unheard, UpstreamTimeout
from protocol.messages import Frame, Job, Message, Reasoning, Refusal, Text, Tool, ToolCall, Usage, text_of
from protocol.settings_types import Prices
from workers.targets import NOTHING
from workers.tokens import CHARS_PER_TOKEN, count

INLINE_CHARS = 16 << 10  # counted on the event loop, in half a millisecond
MILLION = 1_000_000

MESSAGE = 3  # tokens around each message
NAME = 1
REPLY = 3  # the answer's own beginning
TOOL = 7
TOOLS_END = 12
PROPERTIES = 3
PROPERTY = 3
ENUM = -3
ENUM_ITEM = 3

MAY_COST = (UpstreamTimeout, Interrupted, Draining, Unheard)
"""Ways to end that an upstream may bill though nothing came: it was at work, unless `NOTHING` was told."""


async def usage_of(
    job: Job, frames: Sequence[Frame], told: Usage | None = None, error: ServiceError | None = None
) -> Usage:
    """What one try cost. `frames` are what came of it, `told` is what the upstream said, `error` how it ended.

    What was not told is counted, and marked as an estimate; `told` may know the prompt alone. Large texts are counted
    in a thread. Whoever is cancelled meanwhile gets a rougher figure at once: a bill is due in any case, and nothing
    comes after it.
    """
    told = told or Usage()
    if told is NOTHING or told.completion or _cost_nothing(frames, error):
        return told
    if _asked_chars(job) + _answered_chars(frames) <= INLINE_CHARS:
        return _counted(job, frames, told)
    try:
        return await asyncio.to_thread(_counted, job, frames, told)
    except asyncio.CancelledError:
        return _roughly(job, frames, told)


def cost_of(usage: Usage, prices: Prices | None) -> float | None:
    """In the unit of the prices; None: there are none."""
    if prices is None:
        return None
    cached = min(usage.cached, usage.prompt)
    cached_price = prices.input if prices.cached is None else prices.cached
    paid = (usage.prompt - cached) * prices.input + cached * cached_price + usage.completion * prices.output
    return round(paid / MILLION, 9)


def _cost_nothing(frames: Sequence[Frame], error: ServiceError | None) -> bool:
    if error is None or frames:
        return False
    return not isinstance(error, MAY_COST)


def _asked_chars(job: Job) -> int:
    tools = sum(len(tool.parameters or b"") for tool in job.tools)
    return sum(len(text_of(message)) for message in job.messages) + len(job.said) + tools


def _answered_chars(frames: Iterable[Frame]) -> int:
    return sum(len(_text(frame)) for frame in frames)


def _roughly(job: Job, frames: Sequence[Frame], told: Usage) -> Usage:
    return Usage(
        prompt=told.prompt or _asked_chars(job) // CHARS_PER_TOKEN,
        completion=_answered_chars(frames) // CHARS_PER_TOKEN,
        cached=told.cached,
        estimated=True,
    )


def _text(frame: Frame) -> str:
    """What a frame says, whoever hears it."""
    if isinstance(frame, Text | Refusal | Reasoning):
        return frame.text
    return f"{frame.name}{frame.arguments}" if isinstance(frame, ToolCall) else ""


def _counted(job: Job, frames: Sequence[Frame], told: Usage) -> Usage:
    thought = "".join(_text(frame) for frame in frames if isinstance(frame, Reasoning))
    said = "".join(_text(frame) for frame in frames if isinstance(frame, Text | Refusal))
    calls = sum(count(frame.name) + count(frame.arguments) for frame in frames if isinstance(frame, ToolCall))
    reasoning = count(thought)
    return Usage(
        prompt=told.prompt or _prompt(job),
        completion=count(said) + calls + reasoning,
        cached=told.cached,
        reasoning=reasoning,
        estimated=True,
    )


# --- the prompt ------------------------------------------------------------------------------------


def _prompt(job: Job) -> int:
    messages = sum(_message(message) for message in job.messages) + REPLY
    said = MESSAGE + 1 + count(job.said) if job.said else 0  # a continuation's half answer goes in as a message
    return messages + said + _tools(job.tools)


def _message(message: Message) -> int:
    name = NAME + count(message.name) if message.name else 0
    calls = sum(count(call.name) + count(call.arguments) for call in message.tool_calls)
    return MESSAGE + count(message.role) + count(text_of(message)) + name + calls


def _tools(tools: Sequence[Tool]) -> int:
    return sum(_tool(tool) for tool in tools) + TOOLS_END if tools else 0


def _tool(tool: Tool) -> int:
    described = count(f"{tool.name}:{_sentence(tool.description)}")
    try:
        return TOOL + described + _properties(json.loads(tool.parameters or b"{}"))
    except (ValueError, RecursionError):  # no JSON, or too deep: its caller's business
        return TOOL + described


def _properties(schema: Any) -> int:
    """Of an object's schema; what a property nests is counted as it is written."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties:
        return 0
    return PROPERTIES + sum(_property(name, value) for name, value in properties.items())


def _property(name: str, schema: Any) -> int:
    if not isinstance(schema, dict):
        return PROPERTY + count(name)
    line = count(f"{name}:{_word(schema.get('type'))}:{_sentence(schema.get('description'))}")
    nested = {key: value for key, value in schema.items() if key in ("properties", "items", "anyOf", "oneOf", "allOf")}
    return PROPERTY + line + _enum(schema.get("enum")) + (count(_json(nested)) if nested else 0)


def _enum(items: Any) -> int:
    if not isinstance(items, list) or not items:
        return 0
    return ENUM + sum(ENUM_ITEM + count(_word(item)) for item in items)


def _sentence(text: Any) -> str:
    return text.removesuffix(".") if isinstance(text, str) else ""


def _word(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
