"""What the result of a tool call says of the call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.history import NO_RESULT
from protocol.tool_results import Result, result_of

DONE: dict[str, str] = {
    "words": "Thursday at three",
    "words about errors": "No errors were found",
    "words about no error": "No error: all is well",
    "words about nothing that failed": "3 passed, 0 failed",
    "a list": "[1]",
    "a number": "7",
    "true": "true",
    "an empty object": "{}",
    "no object after all": "{slots: 1",
    "an object": '{"slots": ["Thu"], "error": null}',
    "a status": '{"status": "success"}',
    "a status of HTTP": '{"status": 200}',
    "a success that names no error": '{"status": "success", "error": "none"}',
    "a success that names a true error": '{"status": "success", "error": "x"}',
    "an error that is none": '{"error": "none"}',
    "a true status": '{"status": true, "error": "x"}',
    "a success that names an earlier error": '{"success": true, "error": "the first line was busy"}',
    "a success about what was cancelled": '{"ok": true, "status": "cancelled"}',
    "what failed is the subject": '{"order": {"id": 17, "status": "delivery_failed"}}',
    "what failed is a part": '{"ok": true, "checks": {"dns": {"status": "failed"}}}',
    "the type of a thing": '{"type": "customer", "name": "Ann"}',
    "ElevenLabs": '{"result_type": "transfer_to_agent_success", "to_agent": "a"}',
    "ElevenLabs, one deeper": '{"result": {"type": "play_dtmf_success", "reason": "x"}}',
}
FAILED: dict[str, str] = {
    "ElevenLabs": '{"result_type": "transfer_to_agent_error", "from_agent": "a"}',
    "ElevenLabs, with a carrier": '{"type": "transfer_to_number_twilio_error", "error": "busy"}',
    "ElevenLabs, one deeper": '{"result": {"type": "play_dtmf_error", "details": "x"}}',
    "MCP": '{"isError": true, "content": []}',
    "LiveKit": "An internal error occurred",
    "Pipecat, cancelled": "CANCELLED",
    "the same as JSON": '"CANCELLED"',
    "an error": '{"error": "busy"}',
    "an error object": '{"error": {"code": 5}}',
    "no success": '{"success": false}',
    "no success, as text": '{"success": "false"}',
    "no success, whatever the status": '{"success": false, "status": "completed"}',
    "a bad status": '{"status": "Failed"}',
    "a false status": '{"status": false}',
    "a cancelled one": '{"status": "cancelled"}',
    "nobody took the call": '{"status": "no_answer"}',
    "nobody took the call, written otherwise": '{"status": "no-answer"}',
    "a busy line": '{"status": "busy"}',
    "a bad status of HTTP": '{"status": 502}',
    "a type": '{"type": "error", "message": "x"}',
    "false": "false",
    "false as text": '"false"',
    "an error in words": "Error: no such number",
    "an error in the words of an object": '{"result": "Error: busy"}',
    "what failed, and why": "Verification failed: wrong pin",
    "what failed": "Transfer failed",
    "without success": "Transfer unsuccessful",
    "an error behind its kind": "HTTP error: 502",
    "not supported": "This language is not supported.",
}
UNKNOWN: dict[str, str] = {
    "nothing": "",
    "white space": " \n",
    "null": "null",
    "None": "None",
    "Pipecat, under way": "IN_PROGRESS",
    "the same as JSON": '"IN_PROGRESS"',
    "a status, under way": '{"status": "pending"}',
    "made up by the edge": NO_RESULT,
}


@pytest.mark.parametrize("text", DONE.values(), ids=DONE)
def test_what_is_known_to_be_no_error_was_done(text: str) -> None:
    assert result_of(text) is Result.DONE


@pytest.mark.parametrize("text", FAILED.values(), ids=FAILED)
def test_what_says_that_it_failed_was_not_done(text: str) -> None:
    assert result_of(text) is Result.FAILED


@pytest.mark.parametrize("text", UNKNOWN.values(), ids=UNKNOWN)
def test_of_what_says_nothing_nobody_knows(text: str) -> None:
    assert result_of(text) is Result.UNKNOWN


@given(st.text() | st.text().map(lambda text: "{" + text) | st.text(alphabet='{}[]":, a1', max_size=30))
def test_any_text_is_a_result(text: str) -> None:
    assert result_of(text) in Result
