"""Which language a call is held in, and what is to be said in it. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from edge import carried
from protocol.codec import DecodeError
from protocol.messages import Json, Message, PastCall, text_of
from protocol.settings_profiles import Profile
from protocol.tool_results import Result, result_of

DETECTION = "language_detection"  # ElevenLabs' system tool: the platform has changed to the language in its result
KEYS = ("language", "language_code", "system__language", "lang", "locale")  # of an extra body; the first one counts
NESTED = ("dynamic_variables", "dynamicVariables", "variables", "variableValues")  # where platforms keep a call's own
OVERRIDES = ("assistantOverrides",)  # Vapi's `call` has its variables in there
LAST_RESORT = "en"

TAG = re.compile(r"([a-z]{2,3})(-[a-z]{4})?(-(?:[a-z]{2}|[0-9]{3}))?(-[a-z0-9]+)*")
NO_LANGUAGE = frozenset({"und", "mul", "zxx", "mis"})  # ISO 639-3's own words for none, or several

T = TypeVar("T")


class _Result(Struct):
    """The language that a `language_detection` says it has changed to."""

    language: object = None


_result = msgspec.json.Decoder(_Result)
_arguments = msgspec.json.Decoder(dict[str, object])


def language_of(
    messages: Iterable[Message], extras: Mapping[str, Json], model_language: str | None, profile: Profile
) -> str:
    """The language of the call: the last one it was changed to, else the one that the platform names, else its model's,
    else its profile's.

    Source: ElevenLabs, custom LLM, system tools; Python SDK 2.78, results of system tools in a transcript.
    """
    return detected(messages) or _named(extras) or normalised(model_language) or profile.language


def normalised(value: object) -> str | None:
    """A language's tag as it is usually written (`EN_us`: `en-US`); None for what is none.

    Source: RFC 5646, section 2.1.1.
    """
    if not isinstance(value, str):
        return None
    match = TAG.fullmatch(value.strip().replace("_", "-").lower())
    if match is None or match[1] in NO_LANGUAGE:
        return None
    script, region = match[2] or "", match[3] or ""
    return match[1] + script.title() + region.upper()


def in_language(table: Mapping[str, T], *languages: str) -> T | None:
    """What a table by language has for the first of these that it knows, else what it has in English."""
    found = (in_this_language(table, language) for language in (*languages, LAST_RESORT))
    return next((phrases for phrases in found if phrases is not None), None)


def in_this_language(table: Mapping[str, T], language: str) -> T | None:
    """What it has for one, under its own name, under the base language's (`pt` of `pt-BR`), or as another region's."""
    for known in (language, _base(language)):
        if known in table:
            return table[known]
    return next((phrases for key, phrases in table.items() if _base(key) == _base(language)), None)


def _base(language: str) -> str:
    return language.partition("-")[0]


def detected(messages: Iterable[Message]) -> str | None:
    """The last language that `language_detection` was called for with success."""
    calls: dict[str, PastCall] = {}  # a later call may have the id of an earlier one
    found = None
    for message in messages:
        calls.update({call.id: call for call in message.tool_calls})
        asked = calls.get(message.tool_call_id or "") if message.role == "tool" else None
        if asked is not None and asked.name == DETECTION:
            found = _changed_to(asked, message) or found
    return found


def _changed_to(call: PastCall, result: Message) -> str | None:
    """None: the platform did not change, or nobody knows to what."""
    text = text_of(result).strip()
    if text and result_of(text) is not Result.DONE:
        return None
    try:
        told = _result.decode(text)
    except DecodeError:  # plain words
        told = _Result()
    return normalised(told.language) or normalised(_asked_for(call))


def _asked_for(call: PastCall) -> object:
    try:
        return _arguments.decode(call.arguments).get("language")
    except DecodeError:
        return None


def _named(extras: Mapping[str, Json]) -> str | None:
    """What an extra body says, itself or in its dynamic variables."""
    bodies = list(extras.values())
    bodies += [inner for body in bodies for inner in carried.objects(body, OVERRIDES)]
    bodies += [inner for body in bodies for inner in carried.objects(body, NESTED)]
    said = [carried.strings(body) for body in bodies]
    tags = (normalised(strings.get(key)) for strings in said for key in KEYS)
    return next((tag for tag in tags if tag), None)
