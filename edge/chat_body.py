"""The body of POST /v1/chat/completions: bytes -> ChatRequest.

Liberal in what comes in: an explicit null equals an absent field, unknown fields are skipped at every level, and
what a voice platform adds is tolerated in any shape.

Source: the API contract, sections 1.5 and 1.9.
"""

from msgspec import Struct

from edge import carried
from edge import chat_form as wire
from edge.body import Reader, missing, wrong_type
from edge.chat_messages import messages_of
from edge.chat_tools import choice, offered
from edge.identity import CALL_ID
from edge.parameters import unserved
from protocol import errors
from protocol.messages import Format, Json, Message, Sampling, Tool, ToolChoice

MAX_TOKENS = 2**31 - 1  # the largest that every known upstream can read
MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512  # of metadata, as OpenAI bounds it
EXTRA_BODIES = ("elevenlabs_extra_body", "fishaudio_extra_body", "extra_metadata", "context")
CALL_ID_KEYS = ("conversation_id", "call_id", "system__conversation_id", "call_control_id")  # the last: Telnyx's

_reader = Reader(wire.ChatBody, needs="an object with 'model' and 'messages'")


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
    tools, legacy = offered(form)
    stream = bool(form.stream)
    metadata, extras = carried.strings(form.metadata), _extras(form)
    return ChatRequest(
        model=form.model,
        messages=messages_of(form.messages),
        stream=stream,
        include_usage=bool(stream and form.stream_options and form.stream_options.include_usage),
        legacy=legacy,
        call_id_from_body=_call_id(form, extras, metadata),
        tools=tools,
        tool_choice=choice(form, tools),
        parallel_tool_calls=False if legacy else form.parallel_tool_calls,
        response_format=_format(form.response_format),
        sampling=_sampling(form),
        user=form.user or carried.text(form.user_id),
        metadata=_fitting(metadata),
        extras=extras,
    )


def _refuse_unserved(form: wire.ChatBody) -> None:
    if form.n is not None and form.n > 1:
        raise unserved("more than one answer")
    if "audio" in (form.modalities or ()):
        raise unserved("audio output")
    if not carried.absent(form.web_search_options):
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
        logit_bias=carried.json_object(form.logit_bias, "logit_bias"),
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
    schema = carried.json_object(form.json_schema.schema, "response_format.json_schema.schema")
    wanted = form.json_schema
    return Format("json_schema", wanted.name, schema, wanted.strict, wanted.description)


def _fitting(metadata: dict[str, str]) -> dict[str, str]:
    pairs = [(key, text) for key, text in metadata.items() if len(key) <= MAX_KEY and len(text) <= MAX_VALUE]
    return dict(pairs[:MAX_PAIRS])


def _extras(form: wire.ChatBody) -> dict[str, Json]:
    """What a platform says of the call, as it came."""
    given = {name: bytes(getattr(form, name)) for name in (*EXTRA_BODIES, "call")}
    return {name: value for name, value in given.items() if value.startswith(b"{")}


def _call_id(form: wire.ChatBody, extras: dict[str, Json], metadata: dict[str, str]) -> str | None:
    said = {name: carried.strings(value) for name, value in extras.items()}
    candidates = [
        *(said[name].get(key) for name in EXTRA_BODIES if name in said for key in CALL_ID_KEYS),
        said["call"].get("id") if "call" in said else None,
        carried.text(form.session_id),
        *(metadata.get(key) for key in ("call_id", "conversation_id")),
    ]
    return next((given for given in candidates if given and CALL_ID.fullmatch(given)), None)
