"""What each built-in model says to a job, as frames. Pure and deterministic: the same job gets the same answer."""

import hashlib
import itertools
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from protocol.codec import DecodeError
from protocol.errors import InvalidValue
from protocol.messages import FinishReason, Frame, Job, Json, Reasoning, Text, Tool, ToolCall, Usage, text_of
from workers.targets.echo_commands import MAX_TOKENS, Commands
from workers.targets.json_example import NoExample, example
from workers.targets.seals import Seals, digest_of
from workers.targets.tool_calls import made_up_id

GREETING = "Hello! Say something, and I will say it back."
THOUGHTS = "The caller said something. I will say the same."
REMEMBERED = " I remember {} of my thoughts."
SEALS = Seals(digest_of("echo-reasoning"))
SEALED = urlsafe_b64encode(THOUGHTS.encode()).decode()
WORD = re.compile(r"\S{1,1000}\s{0,1000}|\s{1,1000}")  # bounded: one frame has to pass the bus
JSON_PIECE_CHARS = 8


class Script(NamedTuple):
    """Frames in their order, each one token, and how they end."""

    frames: Sequence[Frame]
    reason: FinishReason


def script(model: str, job: Job, commands: Commands) -> Script:
    """The answer of a built-in model.

    Raises:
        InvalidValue: the job demands a tool that it does not offer, or a schema that nothing is made for.
    """
    if model == "echo-tools" and (calls := _calls(job, commands)):
        return Script(calls, "tool_calls")
    if model == "echo-json":
        pieces = _pieces(_json(job))
    else:
        pieces = _repeated(words(_text(job)), commands.tokens)
    spoken, reason = _bounded(pieces, job)
    thoughts = _thoughts(job) if model == "echo-reasoning" else []
    return Script([*thoughts, *[Text(piece) for piece in spoken]], reason)


def words(text: str) -> list[str]:
    """Words with the white space that follows them; joined, they are the text."""
    return WORD.findall(text)


def _pieces(text: str) -> list[str]:
    return [text[at : at + JSON_PIECE_CHARS] for at in range(0, len(text), JSON_PIECE_CHARS)]


def usage(job: Job, frames: Sequence[Frame]) -> Usage:
    """What was said, a word a token; a tool call costs the words of its arguments and its name."""
    prompt = sum(len(words(text_of(message))) for message in job.messages)
    spent = sum(1 + len(words(frame.arguments)) if isinstance(frame, ToolCall) else 1 for frame in frames)
    sealed = sum(isinstance(frame, Reasoning) and not frame.text for frame in frames)  # its words are counted already
    thought = sum(isinstance(frame, Reasoning) for frame in frames) - sealed
    return Usage(prompt=prompt, completion=spent - sealed, reasoning=thought)


def _text(job: Job) -> str:
    """What to say back: the result of a tool, when the last message is one, else the last thing the user said."""
    last = job.messages[-1] if job.messages else None
    if last is not None and last.role == "tool":
        return text_of(last) or GREETING
    said = next((text_of(message) for message in reversed(job.messages) if message.role == "user"), "")
    return said or GREETING


def _repeated(pieces: list[str], tokens: int | None) -> list[str]:
    """Exactly `tokens` pieces, the text over and over with a space between."""
    if tokens is None or tokens <= len(pieces):
        return pieces[:tokens]
    again = [*pieces[:-1], pieces[-1] if pieces[-1][-1].isspace() else pieces[-1] + " "]
    return list(itertools.islice(itertools.cycle(again), tokens))


def _bounded(pieces: list[str], job: Job) -> tuple[list[str], FinishReason]:
    """As many tokens as may be said. A continuation says the rest of the same text."""
    limit = min(MAX_TOKENS, job.sampling.max_tokens or MAX_TOKENS)
    whole, said = "".join(pieces[:limit]), job.said
    reason: FinishReason = "length" if len(pieces) > limit else "stop"
    return (_from(pieces[:limit], len(said)) if said and whole.startswith(said) else pieces[:limit]), reason


def _from(pieces: list[str], start: int) -> list[str]:
    """The pieces without the first `start` characters of their text."""
    rest = []
    for piece in pieces:
        if start < len(piece):
            rest.append(piece[start:])
        start = max(0, start - len(piece))
    return rest


# --- echo-reasoning --------------------------------------------------------------------------------


def _thoughts(job: Job) -> list[Frame]:
    """What it thinks, sealed at the end where that is asked for. It says how many of its own thoughts it is shown."""
    id_ = "rs_" + hashlib.blake2b(job.id.encode(), digest_size=12).hexdigest()
    shown = [SEALS.opened(thought) for message in job.messages for thought in message.thoughts]
    own = sum(one is not None and one.content == SEALED for one in shown)
    text = THOUGHTS + (REMEMBERED.format(own) if own else "")
    seal = [Reasoning("", id_, SEALS.marked(SEALED, id_))] if job.sampling.encrypted_reasoning else []
    return [*(Reasoning(word, id_) for word in words(text)), *seal]


# --- echo-tools ------------------------------------------------------------------------------------


def _calls(job: Job, commands: Commands) -> list[Frame]:
    """The calls to make; none: it speaks."""
    tools = _callable(job)
    if not tools or (job.messages and job.messages[-1].role == "tool"):
        return []
    count = 1 if job.parallel_tool_calls is False else commands.calls
    chosen = [tools[index % len(tools)] for index in range(count)]
    arguments = {tool.name: _arguments(tool, job) for tool in chosen}
    return [
        ToolCall(index, made_up_id(job.id, index), tool.name, arguments[tool.name]) for index, tool in enumerate(chosen)
    ]


def _callable(job: Job) -> list[Tool]:
    """The tools that may be called, the demanded ones alone where some are."""
    choice = job.tool_choice
    if choice is None or choice.mode in ("auto", "required"):
        return list(job.tools)
    if choice.mode == "none":
        return []
    offered = {tool.name: tool for tool in job.tools}
    for name in choice.names:
        if name not in offered:
            raise InvalidValue(f"tool_choice names {name!r}; offered: {', '.join(offered)}", param="tool_choice")
    return [offered[name] for name in choice.names]


def _arguments(tool: Tool, job: Job) -> str:
    if tool.parameters is None:
        return "{}"
    value = _made(tool.parameters, param=f"tools[{job.tools.index(tool)}].function.parameters")
    return msgspec.json.encode(value if isinstance(value, dict) else {}).decode()


# --- echo-json -------------------------------------------------------------------------------------


def _json(job: Job) -> str:
    form = job.response_format
    if form is not None and form.schema is not None:
        value = _made(form.schema, param="response_format.json_schema.schema")
    else:
        value = {"echo": _text(job)}
    return msgspec.json.encode(value).decode()


def _made(schema: Json, *, param: str) -> Any:
    try:
        return example(msgspec.json.decode(schema))
    except DecodeError:
        raise InvalidValue(f"{param} is no JSON", param=param) from None
    except NoExample as error:
        raise InvalidValue(f"a built-in model finds no value for {param}: {error}", param=param) from None
