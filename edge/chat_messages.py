"""The messages of a chat request: form -> history. Pure.

Source: the API contract, sections 1.5 and 1.9.
"""

from collections.abc import Sequence
from functools import cached_property

from msgspec import Raw

from edge import carried
from edge import chat_form as wire
from edge.body import missing, no_content, not_among, wrong_type
from edge.chat_tools import check_function
from protocol import errors
from protocol.messages import ImagePart, Message, OpaquePart, Part, PastCall, RefusalPart, TextPart


def messages_of(forms: Sequence[wire.Message]) -> tuple[Message, ...]:
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
    raise no_content(form.content, f"{at}.content")


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
    body = carried.json_object(value, f"{at}.{kind}")
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
    check_function(form.type, f"{at}.type")
    if form.function is None:
        raise missing(f"{at}.function")
    return PastCall(form.id, form.function.name, form.function.arguments or "{}")
