"""The body of POST /v1/chat/completions: bytes -> ChatRequest.

Liberal in what comes in: an explicit null equals an absent field, unknown fields are skipped at every level, and
what a voice platform adds is tolerated in any shape.

Source: the API contract, sections 1.5 and 1.9.
"""

from edge import carried
from edge import chat_form as wire
from edge.asked import Asked
from edge.body import Reader, missing, tokens
from edge.chat_messages import messages_of
from edge.chat_tools import choice, offered
from edge.parameters import unserved
from edge.platform_fields import call_id_in, extras_of, metadata_of, user_of
from protocol import errors
from protocol.messages import Format, Sampling

_reader = Reader(wire.ChatBody, needs="an object with 'model' and 'messages'")


class ChatRequest(Asked, frozen=True, kw_only=True):
    """A chat completion's.

    `legacy`: the request offered `functions`, so its calls are answered in the `function_call` form.
    """

    include_usage: bool
    legacy: bool


def parse(body: bytes) -> ChatRequest:
    """Read a request body.

    Raises:
        ServiceError: the body is no chat request, or asks for what is not served here; `param` names the field.
    """
    form = _reader.read(body)
    _refuse_unserved(form)
    tools, legacy = offered(form)
    stream = bool(form.stream)
    return ChatRequest(
        model=form.model,
        messages=messages_of(form.messages),
        stream=stream,
        include_usage=bool(stream and form.stream_options and form.stream_options.include_usage),
        legacy=legacy,
        call_id_from_body=call_id_in(form),
        tools=tools,
        tool_choice=choice(form, tools),
        parallel_tool_calls=False if legacy else form.parallel_tool_calls,
        response_format=_format(form.response_format),
        sampling=_sampling(form),
        user=user_of(form, form.user),
        metadata=metadata_of(form),
        extras=extras_of(form),
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
        max_tokens=tokens(form.max_completion_tokens, "max_completion_tokens") or tokens(form.max_tokens, "max_tokens"),
        stop=tuple(word for word in stop if word),
        seed=form.seed,
        logprobs=bool(form.logprobs),
        top_logprobs=form.top_logprobs,
        reasoning_effort=form.reasoning_effort,
        verbosity=form.verbosity,
        service_tier=form.service_tier,
        logit_bias=carried.json_object(form.logit_bias, "logit_bias"),
    )


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
