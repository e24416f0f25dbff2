"""What a client says once more of the response that it goes on from. Pure.

LiveKit's plug-in names the response before and sends all that its own history has got since it asked: its calls and
what was heard of its text too, which are stored already. Told twice, a call would have no result, and a model would
read that it repeats itself. A text of which the caller heard the beginning takes the place of the whole.

Source: livekit-plugins-openai 1.8, `responses.LLM.chat`.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, takewhile
from typing import NamedTuple

from msgspec import Raw

from edge import responses_form as wire

CUT = "..."  # what some clients put where they cut


class Told(NamedTuple):
    """An item, and where it stands."""

    at: str
    item: Raw
    form: wire.Item


def joined(past: Sequence[Told], own: Sequence[Told], response_id: str) -> tuple[list[Told], list[Told]]:
    """Both without what `own` says once more. `past` ends in the output of that response, if it has any."""
    answer = _made_by(response_id, past)
    known = {told.form.id: told.form for told in answer}
    own = [told for told in own if not told.form.id or known.get(told.form.id) != told.form]
    past, own = _heard(past, own, answer)
    calls = {(call.form.call_id, call.form.name) for call in answer if isinstance(call.form, wire.CallItem)}
    return list(past), [told for told in own if not _is_one_of(calls, told.form)]


def _made_by(response_id: str, past: Sequence[Told]) -> list[Told]:
    """The output of a response, oldest first. What was put before it may be a model's words too: those of the client's
    own history.
    """
    made_by = f"_{response_id.rpartition('_')[2]}_"
    return [*takewhile(lambda told: made_by in (told.form.id or ""), reversed(past))][::-1]


def _by_model(told: Told) -> bool:
    match told.form:
        case wire.MessageItem(role=role):
            return role == "assistant"
    return isinstance(told.form, wire.CallItem | wire.ReasoningItem)


def _is_one_of(calls: set[tuple[str, str]], form: wire.Item) -> bool:
    return isinstance(form, wire.CallItem) and (form.call_id, form.name) in calls


def _heard(past: Sequence[Told], own: Sequence[Told], answer: Sequence[Told]) -> tuple[Sequence[Told], Sequence[Told]]:
    """With one of the two texts of the answer: the one that was heard. `own` that is nothing but the beginning of a
    text is none: the next answer is to begin with it.
    """
    said = _messages(answer)
    texts = [_text(told.form) for told in said]
    whole = "".join(texts)
    again, length = _again(whole, _messages(takewhile(_by_model, own)))
    is_whole = length == len(whole)
    if not again or (len(own) == 1 and not is_whole):
        return past, own
    if not is_whole:
        reached = next(index for index, end in enumerate(accumulate(map(len, texts))) if end >= length)
        past = _in_place_of(said, said[reached], again, past)
    return past, _without(again, own)


def _again(whole: str, heard: Sequence[Told]) -> tuple[list[Told], int]:
    """Those with which the whole begins, and how much of it they are: a client may have one text of several items."""
    again, length = [], 0
    for told in heard:
        text = _text(told.form)
        begins = next((text for text in (text, text.removesuffix(CUT)) if whole.startswith(text, length)), "")
        if begins:
            again.append(told)
            length += len(begins)
        if not begins or begins != text:
            break
    return again, length


def _in_place_of(said: Iterable[Told], place: Told, heard: Iterable[Told], past: Iterable[Told]) -> list[Told]:
    """The past with what was heard, at the place of the last text that it has a part of, in place of all texts."""
    others = {told.at for told in said}
    kept: list[Told] = []
    for told in past:
        if told.at == place.at:
            kept += heard
        elif told.at not in others:
            kept.append(told)
    return kept


def _without(some: Iterable[Told], tolds: Iterable[Told]) -> list[Told]:
    places = {told.at for told in some}
    return [told for told in tolds if told.at not in places]


def _messages(tolds: Iterable[Told]) -> list[Told]:
    return [told for told in tolds if isinstance(told.form, wire.MessageItem)]


def _text(form: wire.Item) -> str:
    """A message's text without white space, which clients trim and join as they like, and which a word that was cut
    does not end in. A refusal is none: LiveKit does not speak it.
    """
    content = form.content if isinstance(form, wire.MessageItem) else None
    if isinstance(content, list):
        content = "".join(part.text for part in content if isinstance(part, wire.InputText))
    return "".join(content.split()).replace("…", CUT) if isinstance(content, str) else ""
