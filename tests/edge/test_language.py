"""Which language a call is held in, and what is said in it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.history import NO_RESULT
from edge.language import detected, in_language, language_of, normalised
from protocol.messages import Message, PastCall, TextPart
from protocol.settings_profiles import Profile

PROFILE = Profile(language="nl")


def detection(result: str | None, language: str = "es", *, id_: str = "c1", name: str = "language_detection") -> Any:
    call = PastCall(id_, name, json.dumps({"reason": "asked", "language": language}))
    messages = [Message("assistant", tool_calls=(call,))]
    if result is not None:
        messages.append(Message("tool", result, tool_call_id=id_))
    return messages


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("en", "en"),
        ("EN_us", "en-US"),
        (" pt-br ", "pt-BR"),
        ("zh-hans-CN", "zh-Hans-CN"),
        ("es-419", "es-419"),
        ("de-1996", "de"),
        ("fil", "fil"),
        ("und", None),
        ("english", None),
        ("e", None),
        ("", None),
        ("en-", None),
        ("{{language}}", None),
        (None, None),
        (7, None),
    ],
)
def test_a_tag_is_written_as_it_usually_is_and_nonsense_is_none(written: object, tag: str | None) -> None:
    assert normalised(written) == tag


@given(st.text(max_size=12))
def test_whatever_is_taken_for_a_language_is_one_of_the_settings_form(text: str) -> None:
    tag = normalised(text)

    assert tag is None or normalised(tag) == tag


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ('{"status": "success", "language": "fr"}', "fr"),
        ('{"result_type": "language_detection_success", "reason": "asked", "language": "fr"}', "fr"),
        ('{"status": "success"}', "es"),
        ("ok", "es"),
        ("", "es"),
        ('{"status": "error", "language": "fr"}', None),
        ('{"result_type": "language_detection_error", "error": "not supported"}', None),
        ('{"error": {"message": "no"}}', None),
        ("Error: not supported", None),
        ('{"success": false, "message": "not configured"}', None),
        ('{"ok": false}', None),
        ("Language fr is not supported", None),
        ("IN_PROGRESS", None),
        (NO_RESULT, None),
        (None, None),
    ],
)
def test_a_detection_counts_when_its_result_is_no_error(result: str | None, found: str | None) -> None:
    assert detected(detection(result)) == found


def test_the_last_detection_that_succeeded_counts() -> None:
    history = [
        *detection('{"language": "fr"}', id_="c1"),
        *detection('{"language": "it"}', id_="c2"),
        *detection('{"status": "error"}', id_="c3"),
        *detection('{"language": "pl"}', id_="c4", name="look_up"),
    ]

    assert detected(history) == "it"


def test_an_id_that_another_tool_has_used_again_brings_no_older_language_back() -> None:
    history = [
        *detection('{"language": "fr"}', id_="c0"),
        *detection('{"language": "es"}', id_="c1"),
        *detection('{"order": 7}', id_="c0", name="look_up"),
    ]

    assert detected(history) == "es"


def test_a_result_in_parts_is_read_too() -> None:
    call, _ = detection("")
    parts = (TextPart('{"language":'), TextPart('"fr"}'))

    assert detected([call, Message("tool", parts, tool_call_id="c1")]) == "fr"


@pytest.mark.parametrize(
    "extra",
    [
        b'{"language": "PT_br"}',
        b'{"language_code": "pt-BR"}',
        b'{"tenant": "t", "language": 7, "system__language": "pt-BR"}',
        b'{"dynamic_variables": {"language": "pt-BR"}}',
        b'{"dynamicVariables": {"language": "pt-BR"}, "language": "somehow"}',
        b'{"id": "1", "assistantOverrides": {"variableValues": {"language": "pt-BR"}}}',
    ],
)
def test_an_extra_body_may_name_the_language(extra: bytes) -> None:
    assert language_of((), {"elevenlabs_extra_body": extra}, "de", PROFILE) == "pt-BR"


@pytest.mark.parametrize("extra", [b"{", b"[]", b'{"language": {"a": 1}}', b'{"dynamic_variables": 3}', b"\xff"])
def test_an_extra_body_that_names_none_is_passed_over(extra: bytes) -> None:
    assert language_of((), {"call": extra}, "de", PROFILE) == "de"


def test_the_history_counts_before_the_extra_body_the_model_and_the_profile() -> None:
    extras = {"elevenlabs_extra_body": b'{"language": "fr"}'}

    assert language_of(detection("ok"), extras, "de", PROFILE) == "es"
    assert language_of((), extras, "de", PROFILE) == "fr"
    assert language_of((), {}, "de", PROFILE) == "de"
    assert language_of((), {}, None, PROFILE) == "nl"


@pytest.mark.parametrize(
    ("languages", "found"),
    [
        (("pt-BR",), "brazil"),
        (("pt-PT",), "brazil"),
        (("pt",), "brazil"),
        (("de-AT",), "german"),
        (("fi", "de"), "german"),
        (("fi", "sv"), "english"),
    ],
)
def test_a_table_is_asked_for_the_language_then_its_base_then_another_region(
    languages: tuple[str, ...], found: str
) -> None:
    assert in_language({"en": "english", "de": "german", "pt-BR": "brazil"}, *languages) == found


def test_a_table_without_english_may_have_nothing() -> None:
    assert in_language({"de": "german"}, "fi") is None
