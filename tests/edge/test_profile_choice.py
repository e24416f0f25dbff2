"""Which profile a turn has: who says so first, and who is recognised."""

import math
from typing import Any

import msgspec
import pytest

from edge import paths
from edge.asked import to_job
from edge.chat import parse
from edge.profile_choice import (
    CALL_ID_CURES,
    HEADER,
    PLAIN_CHOICE,
    RECOGNISED,
    Choice,
    Chosen,
    call_id_cure,
    complete,
    recognised,
)
from protocol.errors import InvalidValue
from protocol.profiles import BUILT_IN
from protocol.settings import parse as settings_of
from protocol.settings_types import EdgeSettings, Model, Settings, TurnSettings
from protocol.settings_voice import OF_PATHS
from tests.platform_requests import REQUESTS

HELLO = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}
SETTINGS = settings_of(
    "[profiles.desk]\nbase = 'mine'\n[profiles.mine]\nbase = 'vapi'\n[tenants.acme]\nprofile = 'fish'\n", {}
)
SHOWN = {
    "elevenlabs/system-tools": "elevenlabs",
    "elevenlabs/tool-follow-up": "elevenlabs",
    "elevenlabs/turn": "elevenlabs",
    "fish/turn": "fish",
    "livekit/interrupted-tool": "livekit",
    "livekit/no-text-yet": "livekit",
    "livekit/strict-tools": "livekit",
    "livekit/turn": "livekit",
    "telnyx/extra-metadata": "telnyx",
    "vapi/metadata-destructured": "vapi",
    "vapi/metadata-variable": "vapi",
    "vapi/model-speaks-first": "vapi",
}
"""Of the platforms' requests those that show whose they are; the others do not."""


def choose(
    *,
    settings: Settings = SETTINGS,
    from_path: str | None = None,
    headers: dict[str, str] | None = None,
    tenant: str = "default",
    model: Model | None = None,
    **fields: Any,
) -> Chosen:
    asked = parse(msgspec.json.encode({**HELLO, **fields}))
    return Choice(settings).of(asked, from_path=from_path, headers=headers or {}, tenant=tenant, model=model)


VAPI_CALL = {"id": "c-1", "orgId": "o-1"}
NAMED = {
    "from_path": "livekit",
    "headers": {HEADER: "pipecat"},
    "tenant": "acme",
    "model": Model(profile="deepgram"),
    "call": VAPI_CALL,
}
ORDER = ["livekit", "pipecat", "fish", "deepgram", "vapi", "openai"]


@pytest.mark.parametrize("left_out", range(len(ORDER)))
def test_the_first_that_says_something_counts(left_out: int) -> None:
    said = dict(list(NAMED.items())[left_out:])

    assert choose(**said).name == ORDER[left_out]  # type: ignore[arg-type]


def test_the_plain_one_named_goes_over_what_is_recognised() -> None:
    assert choose(model=Model(profile="openai"), call=VAPI_CALL).is_plain


@pytest.mark.parametrize("name", REQUESTS)
def test_a_platform_is_recognised_by_what_it_documents(name: str) -> None:
    request = REQUESTS[name]

    assert recognised(parse(request.data), request.headers) == SHOWN.get(name, "openai")


def test_each_that_can_be_recognised_is_recognised_in_some_request() -> None:
    assert set(SHOWN.values()) == RECOGNISED


def test_no_profile_is_called_like_what_follows_it_in_a_path() -> None:
    assert set(OF_PATHS) == paths.STARTS


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "end_call"}}]},
        {"tools": [{"type": "function", "function": {"name": name}} for name in ("transfer_to_agent", "lookup")]},
        {"tools": [{"type": "function", "function": {"name": name}} for name in ("end_call", "voicemail_detection")]},
        {"tools": [{"type": "function", "function": {"name": "skip_turn"}}] * 2},
        {"call": {"id": "c-1"}},
        {"call": "orgId"},
        {"session_id": "s-1"},
        {"metadata": {"call_id": "c-1"}},
        {"context": {"a": 1}},
        {"elevenlabs_extra_body": None},
    ],
)
def test_what_anybody_may_send_shows_nobody(fields: dict[str, Any]) -> None:
    assert choose(**fields).is_plain


@pytest.mark.parametrize(
    ("said", "where"),
    [({"from_path": "s3cret"}, "the path"), ({"headers": {HEADER: "s3cret"}}, "the header 'X-Trunkline-Profile'")],
)
def test_a_name_that_is_none_is_refused_with_those_that_are(said: dict[str, Any], where: str) -> None:
    """Not with the name: in a path it may be a key in a wrong place."""
    with pytest.raises(InvalidValue) as refusal:
        choose(**said)

    assert str(refusal.value).startswith(
        f"{where} names a profile that there is not; known: assemblyai, deepgram, desk,"
    )
    assert "s3cret" not in str(refusal.value)


def test_a_profile_of_the_file_rests_on_its_platform() -> None:
    desk = choose(from_path="desk")

    assert (desk.platform, desk.profile.flush) == ("vapi", True)


def test_what_a_profile_leaves_open_is_the_edges_and_the_turns() -> None:
    settings = Settings(
        edge=EdgeSettings(headers_after_s=1.5, ping_s=7), turn=TurnSettings(budget_s=4, on_lost="finish")
    )
    plain, livekit, vapi = (complete(name, settings) for name in ("openai", "livekit", "vapi"))

    assert (plain.headers_after_s, plain.ping_s, plain.budget_s, plain.on_lost) == (1.5, 7, 4, "finish")
    assert (livekit.headers_after_s, livekit.ping_s, livekit.on_lost) == (5, 5, "continue")
    assert (vapi.ping_s, vapi.budget_s) == (math.inf, 15)


def test_a_budget_ends_with_the_turn() -> None:
    assert complete("vapi", Settings(turn=TurnSettings(budget_s=4, total_s=10))).budget_s == 10


def test_the_plain_profiles_job_is_what_it_always_was() -> None:
    job = to_job(
        parse(msgspec.json.encode(HELLO)),
        turn_id="req_1",
        tenant="t",
        call_id=None,
        budget_ms=1,
        total_ms=1,
        on_lost="error",
        chosen=PLAIN_CHOICE,
    )

    assert (job.profile, job.language, job.check_tools, job.clean_markup) == ("openai", None, False, False)


@pytest.mark.parametrize(
    ("profile", "gated", "checked"),
    [
        ("openai", ("transfer_to_number",), True),
        ("openai", ("end_call",), False),
        ("openai", (), False),
        ("desk", (), True),
    ],
)
def test_a_gate_was_open_where_the_platform_was_not_recognised(
    profile: str, gated: tuple[str, ...], checked: bool
) -> None:
    """A request that offers the tool is checked, whatever its profile is."""
    tools = [{"type": "function", "function": {"name": "transfer_to_number", "parameters": {"type": "object"}}}]
    job = to_job(
        parse(msgspec.json.encode({**HELLO, "tools": tools})),
        turn_id="req_1",
        tenant="t",
        call_id=None,
        budget_ms=1,
        total_ms=1,
        on_lost="error",
        chosen=choose(from_path=profile),
        gated=gated,
    )

    assert job.check_tools is checked


def job_of(messages: list[dict[str, Any]], *, chosen: Chosen, model_language: str | None = None) -> Any:
    body = msgspec.json.encode({"model": "echo", "messages": messages})
    return to_job(
        parse(body),
        turn_id="req_1",
        tenant="t",
        call_id="c",
        budget_ms=1,
        total_ms=1,
        on_lost=chosen.on_lost,
        chosen=chosen,
        model_language=model_language,
    )


SAID_BY_THE_EDGE = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "One moment... Hi there."},
    {"role": "user", "content": "bye"},
]


def test_a_voices_job_says_what_it_is_and_what_is_to_be_done() -> None:
    job = job_of(SAID_BY_THE_EDGE, chosen=choose(from_path="desk"), model_language="de")

    assert (job.profile, job.language, job.check_tools, job.clean_markup) == ("desk", "de", True, True)
    assert job.on_lost == "continue"


def test_what_the_edge_said_is_taken_out_of_a_voices_history_alone() -> None:
    voice, plain = (job_of(SAID_BY_THE_EDGE, chosen=choose(from_path=name)) for name in ("desk", "openai"))

    assert (voice.messages[1].content, voice.repairs) == ("Hi there.", ("spoken_by_edge_removed",))
    assert (plain.messages[1].content, plain.repairs) == ("One moment... Hi there.", ())


def test_a_message_of_nothing_but_fillers_is_gone() -> None:
    history = [SAID_BY_THE_EDGE[0], {"role": "assistant", "content": "One moment... "}, SAID_BY_THE_EDGE[2]]
    job = job_of(history, chosen=choose(from_path="desk"))

    assert [message.role for message in job.messages] == ["user", "user"]
    assert job.repairs == ("spoken_by_edge_removed", "empty_message_dropped")


def test_every_platform_that_can_name_a_call_is_told_how() -> None:
    assert CALL_ID_CURES.keys() <= BUILT_IN.keys()
    assert all(call_id_cure(name) for name in BUILT_IN)
