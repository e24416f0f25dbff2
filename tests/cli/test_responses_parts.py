"""What `trunkline responses` makes of records, as values."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from edge.response_store import StoredResponse
from trunkline.responses import forms
from trunkline.responses.items import item_lines
from trunkline.responses.reading import Kept

QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How warm is it?"}]}


def raw(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


def record(response_id: str, *items: Any, output: list[Any] | None = None, **more: Any) -> StoredResponse:
    parts = [{"type": "output_text", "text": "It is 21 degrees.", "annotations": [], "logprobs": []}]
    said = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": parts}]
    response = {"id": response_id, "model": "echo", "status": "completed", "output": output or said, **more}
    return StoredResponse(
        raw(response), tuple(map(raw, items or (QUESTION, {"role": "developer", "content": "Be brief."})))
    )


def kept(*items: Any, **more: Any) -> Kept:
    data = msgspec.json.encode(record("resp_1", *items, **more))
    return Kept("desk", datetime(2026, 11, 21, 10, 0, tzinfo=UTC), data)


def shown(item: object) -> list[str]:
    return [" ".join(line.split()) for line in item_lines([raw(item)])]


def text(words: str) -> dict[str, str]:
    return {"type": "input_text", "text": words}


def image(url: str) -> dict[str, str]:
    return {"type": "input_image", "image_url": url}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


CALL = {"type": "function_call", "name": "warmth", "arguments": "{}", "call_id": "call_1"}
RESULT = {"type": "function_call_output", "call_id": "call_1"}
REFUSED = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "x" * 2048}


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        (QUESTION, ["user How warm is it?"]),
        ({"role": "system", "content": "One.\nTwo."}, ["system One.", "Two."]),
        (user(image("https://a/b.png")), ["user [image https://a/b.png]"]),
        (
            user(text("This"), image(f"data:image/png;base64,{'A' * 1002}")),
            ["user This", "[image data:image/png;base64, 1 KiB]"],
        ),
        (
            user({"type": "input_file", "filename": "a.pdf"}, {"type": "input_audio"}),
            ["user [file a.pdf]", "[audio]"],
        ),
        (REFUSED, ["assistant [refusal] No."]),
        (CALL, ["call warmth {} (call_1)"]),
        ({**RESULT, "output": "21"}, ["result 21 (call_1)"]),
        ({**RESULT, "output": [text("21")]}, ["result 21 (call_1)"]),
        (THOUGHT, ["thoughts Hm.", "[encrypted, 2 KiB]"]),
        ({"type": "item_reference", "id": "msg_1"}, ["reference msg_1"]),
        ({"type": "of_tomorrow", "what": 1}, ['of_tomorrow {"type":"of_tomorrow","what":1}']),
        ({"type": 7}, ['item {"type":7}']),
        ({"role": "user", "content": "\x1b[2J"}, ["user ?[2J"]),
        ({"role": "user", "content": None}, ["user"]),
    ],
)
def test_each_kind_of_item_is_readable(item: object, lines: list[str]) -> None:
    assert shown(item) == lines


def test_a_response_is_told_in_the_order_in_which_it_was_said() -> None:
    usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}

    lines = forms.show_lines(kept(QUESTION, CALL, instructions="Be kind.", usage=usage, previous_response_id="resp_0"))

    assert lines[0] == "response resp_1: tenant desk, model echo, completed"
    assert lines[1].endswith("; 2 items led to it, goes on from resp_0; tokens 9 in, 4 out")
    assert [line.split()[0] for line in lines[2:] if line] == ["instructions", "user", "call", "assistant"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "incomplete (content_filter)"),
        ({"status": "failed", "error": {"code": "server_error", "message": "It broke."}}, "server_error: It broke."),
        ({"status": "cancelled", "usage": None, "error": None}, "cancelled"),
    ],
)
def test_how_one_ended_is_said(more: dict[str, Any], said: str) -> None:
    assert said in "\n".join(forms.show_lines(kept(**more)))


def test_a_record_of_another_version_is_in_no_list() -> None:
    at = datetime.now(UTC)

    assert [forms.seen(Kept("desk", at, data)) for data in (b"nonsense", b'{"items":[]}', b'{"response":7}')] == [
        None
    ] * 3


def test_the_list_says_what_programs_need() -> None:
    one = kept(previous_response_id="resp_0")
    seen = forms.seen(one)

    assert seen is not None
    assert msgspec.json.decode(forms.list_json([seen])[0]) == {
        "id": "resp_1",
        "tenant": "desk",
        "stored_at": "2026-11-21T10:00:00+00:00",
        "model": "echo",
        "status": "completed",
        "items": 2,
        "bytes": len(one.data),
        "previous_response_id": "resp_0",
    }
