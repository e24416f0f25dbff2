"""What the drills read of a response, and how they judge it: over a socket, from bytes that a line could send."""

import asyncio
from typing import Any

import orjson
import pytest

from bench import verdict
from bench.client import End
from bench.orders import Generation, Order
from bench.response_call import ResponseCall
from tests.tcp import listening

WORDS = ("g1.0 ", "g1.1 ", "g1.2 ")
DONE = b"data: [DONE]\n\n"
LOST: dict[str, Any] = {"code": "worker_lost", "message": "It is gone."}


def response(status: str = "completed", text: str = "".join(WORDS), **more: Any) -> dict[str, Any]:
    output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
    usage = {"input_tokens": 7, "output_tokens": 3}
    return {"id": "resp_1", "object": "response", "status": status, "output": output, "usage": usage, **more}


def created() -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}


def delta(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": text}


def completed(**more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": response(**more)}


def stream(*events: dict[str, Any], done: bytes = DONE) -> bytes:
    numbered = [{"sequence_number": number, **event} for number, event in enumerate(events)]
    body = b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in numbered)
    return _http(200, b"text/event-stream", body + done)


def body(status: int, said: dict[str, Any]) -> bytes:
    return _http(status, b"application/json", orjson.dumps(said))


def _http(status: int, kind: bytes, data: bytes) -> bytes:
    return b"HTTP/1.1 %d .\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (status, kind, len(data), data)


async def heard(answer: bytes) -> ResponseCall:
    """The call that was answered so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with listening(serve) as port:
        call = await ResponseCall.place(f"http://127.0.0.1:{port}/v1/responses", {})
        await call.ended(10.0)
        return call


def said(finished: float | None = 2.0) -> list[Generation]:
    return [Generation(tag="a", number=1, order=Order(tokens=3), received=1.0, finished=finished, closed=None)]


WHOLE = stream(created(), *map(delta, WORDS), completed(store=True))


@pytest.mark.parametrize("answer", [WHOLE, body(200, response(store=True))], ids=["stream", "body"])
async def test_a_whole_response_is_complete_and_says_what_it_was_given(answer: bytes) -> None:
    call = await heard(answer)

    assert verdict.whole_response(call, said()) == verdict.explicit_response(call, said()) == []
    assert (call.id, call.kept, call.output_text) == ("resp_1", True, "".join(WORDS))
    assert verdict.went_on(call, 7) == []
    assert verdict.went_on(call, 8) == ["the model was given 7 words, not the 8 of the conversation"]


async def test_a_failure_that_says_so_is_explicit_and_not_whole() -> None:
    failed = {"type": "response.failed", "response": response("failed", "g1.0 ", usage=None)}
    in_it = await heard(stream(created(), delta("g1.0 "), {"type": "error", "error": LOST}, failed))
    before = await heard(body(503, {"error": {"code": "no_worker"}}))

    for call in (in_it, before):
        assert verdict.explicit_response(call, said(None)) == []
        assert verdict.whole_response(call, said(None))
        assert not call.kept


@pytest.mark.parametrize(
    "answer",
    [
        stream(created(), *map(delta, WORDS)),
        stream(created(), *map(delta, WORDS), completed(), done=b""),
        stream(created(), *map(delta, WORDS), completed(), completed()),
        stream(created(), *map(delta, WORDS), {**completed(), "sequence_number": 7}),
        stream(created(), *map(delta, WORDS[:2]), completed()),
        stream(created(), *map(delta, (*WORDS, WORDS[2])), completed(text="".join((*WORDS, WORDS[2])))),
        stream(created(), {"type": "response.failed", "response": response("failed")}),
        WHOLE[:-20],
        body(503, {}),
    ],
    ids=["no end", "no mark", "two ends", "a hole", "a word short", "twice", "no reason", "cut", "no error"],
)
async def test_whatever_else_comes_is_wrong(answer: bytes) -> None:
    call = await heard(answer)

    assert verdict.explicit_response(call, said())


async def test_what_came_before_a_cut_is_known() -> None:
    call = await heard(WHOLE[:-20])

    assert (call.answer.end, call.answer.text) == (End.CUT, "".join(WORDS))
