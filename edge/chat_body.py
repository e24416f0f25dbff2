"""The body of POST /v1/chat/completions: bytes -> ChatRequest.

Liberal in what comes in: an explicit null equals an absent field, unknown fields are skipped at every level, and
what a voice platform adds is tolerated in any shape.

Source: the API contract, sections 1.5 and 1.9.
"""

from collections.abc import Sequence
from functools import cached_property

import msgspec
from msgspec import UNSET, Raw, Struct

from edge import chat_form as wire
from edge.body import Reader, missing, not_among, wrong_type
from edge.identity import CALL_ID
from edge.parameters import unserved
from protocol import errors
from protocol.codec import DecodeError
from protocol.messages import (
    Format,
    ImagePart,
    Json,
    Message,
    OpaquePart,
    Part,
    PastCall,
    RefusalPart,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)

MAX_TOKENS = 2**31 - 1  # the largest that every known upstream can read
MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512  # of metadata, as OpenAI bounds it
EXTRA_BODIES = ("elevenlabs_extra_body", "fishaudio_extra_body", "extra_metadata", "context")
CALL_ID_KEYS = ("conversation_id", "call_id", "system__conversation_id", "call_control_id")  # the last: Telnyx's

_reader = Reader(wire.ChatBody, needs="an object with 'model' and 'messages'")
_object = msgspec.json.Decoder(dict[str, Raw])
_string = msgspec.json.Decoder(str)


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A body that was found good: what a job needs, and how its answer is to be written.

    `legacy`: the request offered `functions`, so its calls are answered in the `function_call` form.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool
    include_usage: bool
    legacy: bool
    call_id_from_body: str | None
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice | None
    parallel_tool_calls: bool | None
    response_format: Format | None
    sampling: Sampling
    user: str | None
    metadata: dict[str, str]
    extras: dict[str, Json]


def parse(body: bytes) -> ChatRequest:
    """Read a request body.

    Raises:
        ServiceError: the body is no chat request, or asks for what is not served here; `param` names the field.
    """
    form = _reader.read(body)
    _refuse_unserved(form)
    tools, legacy = _offered(form)
    stream = bool(form.stream)
    metadata, extras = _strings(form.metadata), _extras(form)
    return ChatRequest(
        model=form.model,
        messages=_messages(form.messages),
        stream=stream,
        include_usage=bool(stream and form.stream_options and form.stream_options.include_usage),
        legacy=legacy,
        call_id_from_body=_call_id(form, extras, metadata),
        tools=tools,
        tool_choice=_function_call(form.function_call, tools) if legacy else _tool_choice(form.tool_choice, tools),
        parallel_tool_calls=False if legacy else form.parallel_tool_calls,
        response_format=_format(form.response_format),
        sampling=_sampling(form),
        user=form.user or _text(form.user_id),
        metadata=_fitting(metadata),
        extras=extras,
    )


def _refuse_unserved(form: wire.ChatBody) -> None:
    if form.n is not None and form.n > 1:
        raise unserved("more than one answer")
    if "audio" in (form.modalities or ()):
        raise unserved("audio output")
    if not _absent(form.web_search_options):
        raise unserved("web search")


def _sampling(form: wire.ChatBody) -> Sampling:
    if form.top_logprobs and not form.logprobs:
        raise errors.InvalidValue("'top_logprobs' needs 'logprobs': set that to true", param="top_logprobs")
    stop = [form.stop] if isinstance(form.stop, str) else form.stop or ()
    return Sampling(
        temperature=form.temperature,
        top_p=form.top_p,
        presence_penalty=form.presence_penalty,
        frequency_penalty=form.frequency_penalty,
        max_tokens=_tokens(form.max_completion_tokens, "max_completion_tokens")
        or _tokens(form.max_tokens, "max_tokens"),
        stop=tuple(word for word in stop if word),
        seed=form.seed,
        logprobs=bool(form.logprobs),
        top_logprobs=form.top_logprobs,
        reasoning_effort=form.reasoning_effort,
        verbosity=form.verbosity,
        service_tier=form.service_tier,
        logit_bias=_json_object(form.logit_bias, "logit_bias"),
    )


def _tokens(limit: float | None, path: str) -> int | None:
    """A limit in tokens; null, 0 and -1 are platforms' ways to say that there is none."""
    if limit is None or limit <= 0:
        return None
    if limit != int(limit):
        raise wrong_type(path, "integer")
    if limit > MAX_TOKENS:
        raise errors.IntegerAboveMax(f"'{path}' is too large: it must be at most {MAX_TOKENS}", param=path)
    return int(limit)


def _format(form: wire.Format | None) -> Format | None:
    if form is None:
        return None
    if form.type != "json_schema":
        return Format(form.type)
    if form.json_schema is None:
        raise missing("response_format.json_schema")
    schema = _json_object(form.json_schema.schema, "response_format.json_schema.schema")
    wanted = form.json_schema
    return Format("json_schema", wanted.name, schema, wanted.strict, wanted.description)


# --- the history -----------------------------------------------------------------------------------


def _messages(forms: Sequence[wire.Message]) -> tuple[Message, ...]:
    legacy = _LegacyIds(forms)
    return tuple(_message(form, index, legacy) for index, form in enumerate(forms))


class _LegacyIds:
    """Ids for legacy function calls, which have none: each is made up, and no other call or result has it."""

    def __init__(self, forms: Sequence[wire.Message]) -> None:
        self._forms = forms
        self._last: dict[str, str] = {}  # by the function's name

    def of_call(self, name: str, index: int) -> str:
        """The id of a function's next call."""
        made_up = self._last[name] = self._unused(index)
        return made_up

    def of_result(self, name: str, index: int) -> str:
        """The id of the function's last call; where there was none, one that no call has."""
        return self._last.get(name) or self._unused(index)

    def _unused(self, index: int) -> str:
        made_up = f"call_{index}"
        while made_up in self._taken:
            made_up += "_"
        return made_up

    @cached_property
    def _taken(self) -> set[str]:
        called = {call.id for form in self._forms for call in form.tool_calls or ()}
        return called | {form.tool_call_id for form in self._forms if form.tool_call_id}


def _message(form: wire.Message, index: int, legacy: _LegacyIds) -> Message:
    at = f"messages[{index}]"
    content = _content(form, at)
    match form.role:
        case "assistant":
            calls = _past_calls(form, at, index, legacy)
            return Message("assistant", content, form.name, calls, refusal=form.refusal)
        case "tool":
            answered = _required(form.tool_call_id, f"{at}.tool_call_id")
            return Message("tool", content, form.name, tool_call_id=answered)
        case "function":
            name = _required(form.name, f"{at}.name")
            return Message("tool", content, name, tool_call_id=legacy.of_result(name, index))
        case role:
            return Message(role, content, form.name)


def _required(value: str | None, path: str) -> str:
    if value is None:
        raise missing(path)
    if not value:
        raise errors.InvalidValue(f"'{path}' is an empty string: it needs at least one character", param=path)
    return value


def _content(form: wire.Message, at: str) -> str | tuple[Part, ...] | None:
    if isinstance(form.content, str):
        return form.content
    if form.content:
        return _parts(form.content, f"{at}.content", text_only=form.role not in ("user", "assistant"))
    if form.role == "assistant":
        return None if form.tool_calls or form.function_call or form.refusal else ""
    if form.role == "function" and form.content is None:
        return ""
    raise _empty(form.content, f"{at}.content")


def _empty(content: object, path: str) -> errors.ServiceError:
    if content is UNSET:
        return missing(path)
    if content is None:
        return wrong_type(path, "string", "array")
    return errors.EmptyArray(f"'{path}' is empty: it needs at least one entry", param=path)


def _parts(forms: Sequence[wire.Part], at: str, *, text_only: bool) -> tuple[Part, ...]:
    for index, form in enumerate(forms):
        if text_only and not isinstance(form, wire.TextPart):
            raise not_among(f"{at}[{index}].type", ["text"])
    return tuple(_part(form, f"{at}[{index}]") for index, form in enumerate(forms))


def _part(form: wire.Part, at: str) -> Part:
    match form:
        case wire.TextPart():
            return TextPart(form.text)
        case wire.ImagePart():
            return ImagePart(form.image_url.url, form.image_url.detail)
        case wire.AudioPart():
            return _opaque("input_audio", form.input_audio, at)
        case wire.FilePart():
            return _opaque("file", form.file, at)
        case wire.RefusalPart():
            return RefusalPart(form.refusal)


def _opaque(kind: str, value: Raw, at: str) -> OpaquePart:
    body = _json_object(value, f"{at}.{kind}")
    if body is None:
        raise wrong_type(f"{at}.{kind}", "object")
    return OpaquePart(kind, body)


def _past_calls(form: wire.Message, at: str, index: int, legacy: _LegacyIds) -> tuple[PastCall, ...]:
    if form.tool_calls:
        return tuple(_past_call(call, f"{at}.tool_calls[{number}]") for number, call in enumerate(form.tool_calls))
    if form.function_call:
        name = form.function_call.name
        return (PastCall(legacy.of_call(name, index), name, form.function_call.arguments or "{}"),)
    return ()


def _past_call(form: wire.PastCall, at: str) -> PastCall:
    _check_function(form.type, f"{at}.type")
    if form.function is None:
        raise missing(f"{at}.function")
    return PastCall(form.id, form.function.name, form.function.arguments or "{}")


# --- tools -----------------------------------------------------------------------------------------


def _offered(form: wire.ChatBody) -> tuple[tuple[Tool, ...], bool]:
    """The tools, and whether they came as legacy `functions`."""
    if form.tools or not form.functions:
        forms = enumerate(form.tools or ())
        return tuple(_tool(tool, f"tools[{index}]") for index, tool in forms), False
    return tuple(_function(function, f"functions[{i}]") for i, function in enumerate(form.functions)), True


def _tool(form: wire.Tool, at: str) -> Tool:
    _check_function(form.type, f"{at}.type")
    if form.function is None:
        raise missing(f"{at}.function")
    return _function(form.function, f"{at}.function")


def _function(form: wire.Function, at: str) -> Tool:
    return Tool(form.name, form.description, _json_object(form.parameters, f"{at}.parameters"), form.strict)


def _check_function(kind: str | None, path: str) -> None:
    """Only functions are tools here; where nothing is said they are meant."""
    if kind == "custom":
        raise unserved("custom tools", param=path)
    if kind not in (None, "function"):
        raise not_among(path, ["function"])


def _tool_choice(form: str | wire.Choice | None, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if form is None:
        return None
    if isinstance(form, str):
        return _mode(form, tools, "tool_choice")
    if form.type == "allowed_tools":
        if form.allowed_tools is None:
            raise missing("tool_choice.allowed_tools")
        allowed = enumerate(form.allowed_tools.tools)
        names = tuple(_named(tool, f"tool_choice.allowed_tools.tools[{index}]") for index, tool in allowed)
        return _among(ToolChoice("allowed", names, form.allowed_tools.mode == "required"), tools, "tool_choice")
    return _among(ToolChoice("named", (_named(form, "tool_choice"),)), tools, "tool_choice")


def _named(form: wire.Choice | wire.NamedTool, at: str) -> str:
    """The function that a choice names."""
    _check_function(form.type, f"{at}.type")
    if form.function is None:
        raise missing(f"{at}.function")
    return form.function.name


def _function_call(form: str | wire.Named | None, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if form is None:
        return None
    if isinstance(form, str):
        return _mode(form, tools, "function_call")
    return _among(ToolChoice("named", (form.name,)), tools, "function_call")


def _mode(word: str, tools: tuple[Tool, ...], path: str) -> ToolChoice | None:
    match word:
        case "none" | "auto":
            return ToolChoice(word) if tools else None
        case "required" if tools:
            return ToolChoice("required")
        case "required":
            raise errors.InvalidValue(f"'{path}' demands a call, but no tools are offered: send some", param=path)
    raise not_among(path, ["none", "auto", "required"])


def _among(choice: ToolChoice, tools: tuple[Tool, ...], path: str) -> ToolChoice:
    if not choice.names:
        raise errors.InvalidValue(f"'{path}' allows no tool: name at least one, or send 'none'", param=path)
    if not {tool.name for tool in tools}.issuperset(choice.names):
        raise errors.InvalidValue(f"'{path}' names a tool that is not offered: add it to the tools", param=path)
    return choice


# --- what is carried or looked into, not typed -----------------------------------------------------


def _absent(value: Raw | Json) -> bool:
    return bytes(value) in (b"", b"null")


def _json_object(value: Raw, path: str) -> Json | None:
    """A JSON object as it came, byte for byte."""
    if _absent(value):
        return None
    carried = bytes(value)
    if not carried.startswith(b"{"):
        raise wrong_type(path, "object")
    return carried


def _strings(value: Raw | Json) -> dict[str, str]:
    """The non-empty strings of a JSON object; nothing of any other value."""
    if _absent(value):
        return {}  # an exception would cost more
    try:
        entries = _object.decode(value)
    except DecodeError:
        return {}
    return {key: text for key, entry in entries.items() if (text := _text(entry))}


def _text(value: Raw) -> str | None:
    """A JSON string; None for any other value, and for the empty one."""
    if _absent(value):
        return None
    try:
        return _string.decode(value) or None
    except DecodeError:
        return None


def _fitting(metadata: dict[str, str]) -> dict[str, str]:
    pairs = [(key, text) for key, text in metadata.items() if len(key) <= MAX_KEY and len(text) <= MAX_VALUE]
    return dict(pairs[:MAX_PAIRS])


def _extras(form: wire.ChatBody) -> dict[str, Json]:
    """What a platform says of the call, as it came."""
    given = {name: bytes(getattr(form, name)) for name in (*EXTRA_BODIES, "call")}
    return {name: value for name, value in given.items() if value.startswith(b"{")}


def _call_id(form: wire.ChatBody, extras: dict[str, Json], metadata: dict[str, str]) -> str | None:
    said = {name: _strings(value) for name, value in extras.items()}
    candidates = [
        *(said[name].get(key) for name in EXTRA_BODIES if name in said for key in CALL_ID_KEYS),
        said["call"].get("id") if "call" in said else None,
        _text(form.session_id),
        *(metadata.get(key) for key in ("call_id", "conversation_id")),
    ]
    return next((given for given in candidates if given and CALL_ID.fullmatch(given)), None)
