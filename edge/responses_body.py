"""The body of POST /v1/responses: bytes -> ResponsesRequest. Pure, but for the ids of items that came without one.

Liberal in what comes in: an explicit null equals an absent field, unknown fields are skipped at every level, and
what a voice platform adds is tolerated in any shape.

Source: the API contract, sections 1.10, 1.13 and 1.14.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Raw
from msgspec.structs import replace

from edge import carried
from edge import responses_form as wire
from edge.asked import Asked
from edge.body import Reader, empty, missing, tokens
from edge.platform_fields import call_id_in, extras_of, metadata_of, user_of
from edge.responses_echo import echoed, summary_of
from edge.responses_items import messages_of, read, user_item, with_id
from edge.responses_overlap import Told, joined
from edge.responses_parameters import unserved
from edge.responses_tools import choice, offered
from protocol import errors
from protocol.messages import Format, Message, Sampling

ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"

_reader = Reader(wire.ResponsesBody, needs="an object with 'model' and 'input'")


class ResponsesRequest(Asked, frozen=True, kw_only=True):
    """A response's. `messages`: of all that it goes on from, as far as that is known; see `continued`.

    `echoed` are the fields of the response that repeat the request, as they are to be written: every one of them is
    there. `items` is the history as items, oldest first, each with an id; the last `own` of them came with this body.
    `references` are ids of items that the body only names.
    """

    previous_response_id: str | None
    store: bool
    instructions: str | None
    items: tuple[Raw, ...]
    own: int
    references: tuple[str, ...]
    echoed: dict[str, object]


def new_token() -> str:
    """What the ids of one request's items have in common."""
    return secrets.token_hex(14)


def parse(body: bytes, *, new_token: Callable[[], str] = new_token) -> ResponsesRequest:
    """Read a request body.

    Raises:
        ServiceError: the body is no request for a response, or asks for what is not served here; `param` names the
            field.
    """
    form = _reader.read(body)
    _refuse_unserved(form)
    own = _told("input", _own_items(form))
    references = tuple(told.form.id for told in own if isinstance(told.form, wire.ReferenceItem))
    messages = messages_of((told.at, told.form) for told in own)
    if not (messages or references or form.previous_response_id):
        raise _says_nothing()
    tools = offered(form)
    limit = tokens(form.max_output_tokens, "max_output_tokens")
    response_format = _format(form.text.format) if form.text else None
    store = form.store is not False
    return ResponsesRequest(
        model=form.model,
        messages=(*_instructions(form.instructions), *messages),
        stream=bool(form.stream),
        call_id_from_body=call_id_in(form),
        tools=tools,
        tool_choice=choice(form, tools),
        parallel_tool_calls=form.parallel_tool_calls,
        response_format=response_format,
        sampling=_sampling(form, limit, store=store),
        user=user_of(form, form.user),
        metadata=metadata_of(form),
        extras=extras_of(form),
        previous_response_id=form.previous_response_id or None,
        store=store,
        instructions=form.instructions,
        items=_identified(own, new_token()),
        own=len(own),
        references=references,
        echoed=echoed(form, tools, response_format, limit),
    )


def continued(request: ResponsesRequest, past: Sequence[Raw], found: Mapping[str, Raw]) -> ResponsesRequest:
    """The request with the history that it goes on from. `past`: items of the response before, and its output.
    `found`: items that it only names, by id.

    Raises:
        InvalidValue: it names an item that was not found; `param` is `input[i].id`. Or all of it says nothing.
    """
    new = [_resolved(item, f"input[{index}]", found) for index, item in enumerate(_last(request.items, request.own))]
    before, own = joined(_told("past", past), _told("input", new), request.previous_response_id or "")
    messages = messages_of((told.at, told.form) for told in (*before, *own))
    if not messages:
        raise _says_nothing()
    return replace(
        request,
        messages=(*_instructions(request.instructions), *messages),
        items=tuple(told.item for told in (*before, *own)),
        own=len(own),
        references=(),
    )


def _told(place: str, items: Iterable[Raw]) -> list[Told]:
    return [Told(at := f"{place}[{index}]", item, read(item, at)) for index, item in enumerate(items)]


def _identified(items: Sequence[Told], token: str) -> tuple[Raw, ...]:
    return tuple(with_id(told.item, told.form, f"{token}{index:04x}") for index, told in enumerate(items))


def _last(items: Sequence[Raw], count: int) -> Sequence[Raw]:
    return items[len(items) - count :]


def _resolved(item: Raw, at: str, found: Mapping[str, Raw]) -> Raw:
    """The item; what a reference names in place of the reference."""
    form = read(item, at)
    if not isinstance(form, wire.ReferenceItem):
        return item
    if form.id not in found:
        raise errors.InvalidValue(
            f"'{at}.id' names an item that is not stored here: send the item itself", param=f"{at}.id"
        )
    return found[form.id]


def _says_nothing() -> errors.InvalidValue:
    """There are items, but none of them is a message's: thoughts alone."""
    return errors.InvalidValue("'input' says nothing: it needs a message, a call or a result", param="input")


def _refuse_unserved(form: wire.ResponsesBody) -> None:
    if form.background:
        raise unserved("background")
    if not carried.absent(form.conversation):
        raise unserved("conversation")
    if not carried.absent(form.prompt):
        raise unserved("prompt")


def _own_items(form: wire.ResponsesBody) -> Sequence[Raw]:
    if isinstance(form.input, str):
        return [user_item(form.input)]
    if not form.input and not form.previous_response_id:
        if form.input is None:
            raise missing("input", where="here, in place of 'messages'")
        raise empty("input")
    return form.input or ()


def _instructions(text: str | None) -> Iterable[Message]:
    return (Message("system", text),) if text else ()


def _sampling(form: wire.ResponsesBody, limit: int | None, *, store: bool) -> Sampling:
    """What is stored needs its thoughts sealed: the next turn sends them back to a target that stores nothing."""
    include = form.include or ()
    logprobs = LOGPROBS in include
    return Sampling(
        temperature=form.temperature,
        top_p=form.top_p,
        presence_penalty=form.presence_penalty,
        frequency_penalty=form.frequency_penalty,
        max_tokens=limit,
        logprobs=logprobs,
        top_logprobs=form.top_logprobs if logprobs else None,
        reasoning_effort=form.reasoning.effort if form.reasoning else None,
        verbosity=form.text.verbosity if form.text else None,
        service_tier=form.service_tier,
        reasoning_summary=summary_of(form.reasoning) if form.reasoning else None,
        encrypted_reasoning=store or ENCRYPTED in include,
        truncation=form.truncation,
    )


def _format(form: wire.Format | None) -> Format | None:
    if form is None:
        return None
    if form.type != "json_schema":
        return Format(form.type)
    if form.name is None:
        raise missing("text.format.name")
    schema = carried.json_object(form.schema, "text.format.schema")
    if schema is None:
        raise missing("text.format.schema")
    return Format("json_schema", form.name, schema, form.strict, form.description)
