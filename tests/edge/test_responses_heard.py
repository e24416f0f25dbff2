"""What LiveKit's plug-in sends after any answer, spoken to its end or cut: everything that was heard is told once."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from edge.asked import to_job
from edge.dialect import Delta
from edge.responses_body import continued, parse
from protocol.messages import Finished, Message, Reasoning, Refusal, Text, ToolCall, Usage, text_of
from tests.edge.responses_turns import answer

TEXTS = st.sampled_from(["One moment... ", "It rains. ", "It ", "no", "\n", "…"]).map(Text)
THOUGHTS = st.builds(
    Reasoning, st.sampled_from(["", "Hm."]), st.sampled_from([None, "a", "b"]), st.sampled_from([None, "seal"])
)
FRAMES = st.lists(st.one_of(TEXTS, TEXTS, THOUGHTS, st.just(Refusal("No."))), max_size=6)
CALLS = st.integers(0, 2).map(lambda count: [ToolCall(at, f"call_{at}", "f", "{}") for at in range(count)])
ASKED = {"type": "message", "id": "msg_u", "role": "user", "content": "Weather?"}


def sent(heard: str, calls: list[ToolCall]) -> list[dict[str, Any]]:
    """All that its history has got since it asked, and what the caller says next."""
    said = [{"role": "assistant", "content": heard}] if heard.strip() else []
    made = [{"type": "function_call", "call_id": call.id, "name": call.name, "arguments": "{}"} for call in calls]
    results = [{"type": "function_call_output", "call_id": call.id, "output": "done"} for call in calls]
    return [*said, *made, *results, {"role": "user", "content": "And then?"}]


def history_after(frames: list[Delta], own: list[dict[str, Any]]) -> tuple[Message, ...]:
    """What the target is told of a turn that goes on from this answer."""
    made = answer(store=True)
    response = json.loads(made.body(frames, Finished("stop"), usage=Usage()))
    body = {"model": "m", "previous_response_id": response["id"], "input": own}
    past = [Raw(json.dumps(item).encode()) for item in [ASKED, *response["output"]]]
    request = continued(parse(json.dumps(body).encode()), past, {})
    return to_job(
        request, turn_id="turn_2", tenant="t", call_id=None, budget_ms=1, total_ms=1, on_lost="error"
    ).messages


@given(FRAMES, CALLS, st.data())
def test_what_was_heard_is_told_once(frames: list[Delta], calls: list[ToolCall], data: st.DataObject) -> None:
    spoken = "".join(frame.text for frame in frames if isinstance(frame, Text))
    heard = spoken[: data.draw(st.integers(0, len(spoken)))]

    history = history_after([*frames, *calls], sent(heard, calls))

    said = "".join(text_of(message) for message in history if message.role == "assistant")
    expected = heard if heard.strip() else spoken  # of what nobody heard it says nothing
    assert "".join(said.split()) == "".join(expected.split())
    assert [call.id for message in history for call in message.tool_calls] == [call.id for call in calls]
    assert [message.tool_call_id for message in history if message.role == "tool"] == [call.id for call in calls]
    assert [message.content for message in history if message.role == "user"] == ["Weather?", "And then?"]
