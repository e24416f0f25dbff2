"""What OpenAI's own client makes of any turn: what it joins from a stream is the body without one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import body_bytes, to_openai
from protocol import errors
from protocol.errors import from_failed
from protocol.messages import Failed, Finished, Frame, Text
from tests.edge.contract_turns import FAILED, answer, deltas_of, streamed, turns, whole
from tests.edge.openai_client import OfficialClient

CLIENT = OfficialClient()
GOLDEN = Path(__file__).parent / "golden"


def cut(written: bytes, size: int) -> Iterator[bytes]:
    """As a network may deliver it: in pieces that begin and end anywhere."""
    return (written[at : at + size] for at in range(0, len(written), size))


def said(completion: Any) -> dict[str, Any]:
    """What a caller gets, without the differences that an API has between its two forms: '' and null content."""
    (choice,) = json.loads(completion.model_dump_json())["choices"]
    message, logprobs = choice["message"], choice["logprobs"]
    calls = [{key: call[key] for key in ("id", "type", "function")} for call in message.get("tool_calls") or ()]
    for call in calls:
        call["function"] = {key: call["function"][key] for key in ("name", "arguments")}
    return {
        "content": message["content"] or None,
        "refusal": message["refusal"],
        "reasoning": message.get("reasoning_content"),
        "tool_calls": calls,
        "function_call": message.get("function_call"),
        "logprobs": (logprobs or {}).get("content") or [],
        "finish_reason": choice["finish_reason"],
        "usage": completion.usage and json.loads(completion.usage.model_dump_json()),
        "frame": (completion.id, completion.created, completion.model, completion.system_fingerprint),
    }


@settings(deadline=None)
@given(frames=turns((Finished,)), legacy=st.booleans(), size=st.integers(1, 4096))
def test_a_stream_that_the_client_joins_is_the_body(frames: list[Frame], legacy: bool, size: int) -> None:
    CLIENT.answer(cut(b"".join(streamed(answer(include_usage=True, legacy=legacy), frames)), size), stream=True)
    joined = CLIENT.joined()
    CLIENT.answer(cut(whole(answer(legacy=legacy), frames), size), stream=False)

    assert said(joined) == said(CLIENT.body())


@settings(deadline=None)
@given(frames=turns((Finished,)), size=st.integers(1, 4096), heartbeats=st.booleans())
def test_the_client_hears_every_word_once_and_in_order(frames: list[Frame], size: int, heartbeats: bool) -> None:
    """Comments may go between any two pieces: no client takes them for content."""
    written = (b": ping\n\n" if heartbeats else b"").join([b"", *streamed(answer(), frames), b""])
    CLIENT.answer(cut(written, size), stream=True)
    chunks = list(CLIENT.chunks())
    words = [chunk.choices[0].delta.content for chunk in chunks]

    assert [word for word in words if word] == [frame.text for frame in deltas_of(frames) if isinstance(frame, Text)]
    assert all(chunk.usage is None for chunk in chunks)
    assert [chunk.choices[0].finish_reason is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


@settings(deadline=None)
@given(frames=turns((Failed,)), size=st.integers(1, 4096), include_usage=st.booleans())
def test_a_failure_in_a_stream_is_raised_after_all_that_was_said(
    frames: list[Frame], size: int, include_usage: bool
) -> None:
    failed, words = frames[-1], list[str]()
    CLIENT.answer(cut(b"".join(streamed(answer(include_usage=include_usage), frames)), size), stream=True)

    with pytest.raises(openai.APIError) as caught:
        words.extend(chunk.choices[0].delta.content or "" for chunk in CLIENT.chunks())

    assert isinstance(failed, Failed)
    assert "".join(words) == "".join(frame.text for frame in deltas_of(frames) if isinstance(frame, Text))
    assert caught.value.body == to_openai(from_failed(failed))[1]["error"]
    assert (caught.value.message, caught.value.param) == (failed.message, failed.param)


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in GOLDEN.glob("*.sse") if path.with_suffix(".json").exists())
)
def test_a_golden_transcript_says_the_same_as_its_body(name: str) -> None:
    """None of our code has a part in this: the transcripts themselves are held against the client."""
    CLIENT.answer(iter([(GOLDEN / f"{name}.sse").read_bytes()]), stream=True)
    joined = said(CLIENT.joined())
    CLIENT.answer(iter([(GOLDEN / f"{name}.json").read_bytes()]), stream=False)
    body = said(CLIENT.body())

    assert (joined["usage"] is not None) == ("usage" in name)
    assert joined == {**body, "usage": joined["usage"] and body["usage"]}


RAISED: list[tuple[errors.ServiceError, type[openai.APIStatusError]]] = [
    (errors.InvalidJson("m"), openai.BadRequestError),
    (errors.InvalidType("m", param="messages[0].content"), openai.BadRequestError),
    (errors.EmptyArray("m", param="messages"), openai.BadRequestError),
    (errors.UnsupportedParameter("m", param="modalities"), openai.BadRequestError),
    (errors.ContextTooLong("m"), openai.BadRequestError),
    (errors.InvalidKey("m"), openai.AuthenticationError),
    (errors.NoKey("m"), openai.AuthenticationError),
    (errors.ModelNotFound("m"), openai.NotFoundError),
    (errors.RateLimited("m", retry_after_s=1), openai.RateLimitError),
    (errors.QuotaGone("m"), openai.RateLimitError),
    (errors.Internal("m"), openai.InternalServerError),
    (errors.UpstreamError("m"), openai.InternalServerError),
    (errors.Overloaded("m"), openai.InternalServerError),
    (errors.UpstreamTimeout("m"), openai.InternalServerError),
    *((from_failed(failed), openai.APIStatusError) for failed in FAILED),
]


@pytest.mark.parametrize(("error", "kind"), RAISED, ids=[f"{error.code} {kind.__name__}" for error, kind in RAISED])
@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_before_the_answer_is_the_clients_own_exception(
    error: errors.ServiceError, kind: type[openai.APIStatusError], stream: bool
) -> None:
    status, told = to_openai(error)
    CLIENT.answer(iter([body_bytes(error)]), stream=False, status=status)

    with pytest.raises(kind) as caught:
        CLIENT.chunks() if stream else CLIENT.body()

    assert (caught.value.status_code, caught.value.body) == (status, told["error"])
    assert (caught.value.code, caught.value.param) == (told["error"]["code"], told["error"]["param"])
