"""What `trunkline calls` makes of records and webhooks, as values."""

import json
from typing import Any

from msgspec import Raw

from protocol.messages import Heard, Hook, TurnRecord, Withheld
from trunkline.calls import forms
from trunkline.calls.listed import listed
from trunkline.calls.reading import Call
from trunkline.calls.webhook import Said, Told, told

SAID = [{"role": "agent", "message": "Hello.", "time_in_call_secs": 0}, {"role": "user", "message": "My card is 4111"}]


def turn(number: int, call: str | None = "conv_1", **more: Any) -> TurnRecord:
    given: dict[str, Any] = {
        "tenant": "desk", "model": "front-desk", "outcome": "completed", "profile": "elevenlabs", "ttft_ms": 100.0,
        "total_ms": 900.0, "started_at": f"2026-11-21T10:00:{number:02}+00:00", "call_id": call,
    }  # fmt: skip
    return TurnRecord(id=f"turn_{number}", **{**given, **more})


def hook(body: object, **more: Any) -> Hook:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = "2026-11-21T10:05:00+00:00"
    return Hook(platform="elevenlabs", received_at=at, type="post_call_transcription", body=Raw(raw), **more)


def test_turns_are_put_together_by_call_and_key() -> None:
    records = [
        turn(1, cost=0.25),
        turn(2, "conv_2"),
        turn(3, None),
        turn(4, outcome="interrupted", cost=0.5, model="other"),
        turn(5, tenant="somebody"),
    ]

    second, first, foreign = listed(records, last=20)

    assert (first.call_id, first.tenant, first.turns, first.interrupted) == ("conv_1", "desk", 2, 1)
    assert (first.models, first.cost) == (("front-desk", "other"), 0.75)
    assert first.outcomes == {"completed": 1, "interrupted": 1}
    assert (first.first_at[-14:-6], first.last_at[-14:-6]) == ("10:00:01", "10:00:04")
    assert (second.call_id, second.cost) == ("conv_2", None)
    assert (foreign.call_id, foreign.tenant) == ("conv_1", "somebody")


def test_the_newest_calls_are_those_that_spoke_last() -> None:
    records = [turn(1, "old"), turn(2, "new"), turn(3, "old")]

    assert [call.call_id for call in listed(records, last=1)] == ["old"]
    assert [call.call_id for call in listed(records, last=2)] == ["new", "old"]


def test_a_webhook_says_what_the_call_was_and_not_what_was_said() -> None:
    metadata = {"call_duration_secs": 61, "cost": 320, "termination_reason": "end_call tool was called"}
    sent = hook({"data": {"status": "done", "metadata": metadata, "transcript": SAID}}, agent_id="agent_7")

    found = told(sent, transcript=False)

    assert (found.status, found.duration_s, found.cost, found.ended) == ("done", 61, 320, "end_call tool was called")
    assert found.transcript is None
    assert "4111" not in "\n".join(forms.webhook_lines(found))


def test_a_transcript_that_is_asked_for_is_shown_in_order() -> None:
    found = told(hook({"data": {"transcript": SAID}}), transcript=True)

    assert found.transcript == (Said("agent", "Hello.", 0), Said("user", "My card is 4111"))
    assert forms.webhook_lines(found)[1:] == ["     0 s  agent Hello.", "       -  user  My card is 4111"]


def test_a_call_that_never_began_says_why() -> None:
    found = told(hook({"data": {"failure_reason": "busy", "metadata": {"type": "twilio"}}}), transcript=True)

    assert (found.ended, found.transcript) == ("busy", ())


def test_a_body_of_another_form_says_its_kind_alone() -> None:
    for body in ({"data": {"metadata": {"cost": "free"}}}, {"data": 1}, [1], b"{"):
        found = told(hook(body), transcript=True)

        assert (found.type, found.cost) == ("post_call_transcription", None)


def test_below_a_turn_stands_what_no_column_has_room_for() -> None:
    heard = Heard(
        amends="turn_1", by="turn_2", tenant="desk", call_id="conv_1",
        said_chars=40, heard_chars=12, said_words=8, heard_words=3,
    )  # fmt: skip
    cut = turn(
        1,
        outcome="interrupted",
        error="interrupted",
        spoken_by_edge=("One moment... ",),
        withheld=(Withheld("end_call", "too_early"),),
        leaked=1,
        unheard=12,
        unheard_cost=0.5,
        heard=heard,
    )

    assert forms.notes(cut) == [
        "error: interrupted",
        "the edge spoke: 'One moment... '",
        "withheld: end_call (too_early)",
        "taken out of the text: 1",
        "generated and not sent: 12 tokens, 0.5000",
        "heard: 3 of 8 words that were sent",
    ]
    assert forms.notes(turn(2)) == []


def test_what_came_over_the_bus_is_fit_for_a_terminal() -> None:
    call = Call("conv_1", [turn(1, model="\x1b[31mred")], [])
    shown = forms.call_lines(call, [Told(type="t", received_at="never", ended="\x1b[2Jgone")])

    assert "\x1b" not in "\n".join(shown)


def test_a_call_of_which_only_a_webhook_is_kept_is_shown() -> None:
    lines = forms.call_lines(Call("conv_1", [], []), [Told(type="call_initiation_failure", received_at="never")])

    assert lines == ["call conv_1", "", "webhook call_initiation_failure at -: bytes 0"]
