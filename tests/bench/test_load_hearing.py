"""The load generator's ear, against the same text in the forms that different servers give it."""

import pytest

from bench.http1 import LAST_CHUNK, chunk
from bench.load import words
from bench.load.hearing import Hearing
from bench.load.rounds import Api

TAG, TOKENS = "s7", 3
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
WORDS = [f"{TAG}.0000{index} " for index in range(TOKENS)]
ROLE = '{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null}}],"usage":null}'
END = ['{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', "[DONE]"]


def events(*data: str, form: str = "data: {}\n\n") -> list[bytes]:
    return [form.format(one).encode() for one in data]


COMPACT = events(ROLE, *(f'{{"choices":[{{"delta":{{"content":"{word}"}}}}]}}' for word in WORDS), *END)
SPACED = events(
    *(f'{{"choices": [{{"delta": {{"content": "{word}"}}}}]}}' for word in WORDS), *END, form="data:{}\r\n\r\n"
)
JOINED = events(ROLE, f'{{"choices":[{{"delta":{{"content":"{"".join(WORDS)}"}}}}]}}', *END)
CUT = events(
    *(f'{{"choices":[{{"delta":{{"content":"{piece}"}}}}]}}' for word in WORDS for piece in (word[:4], word[4:])), *END
)
THINKING = events('{"choices":[{"delta":{"reasoning_content":"hm "}}]}', *(one.decode()[6:].strip() for one in COMPACT))

ANSWERS = {
    "one event in each chunk": EVENTS_HEAD + CHUNKED + b"".join(map(chunk, COMPACT)) + LAST_CHUNK,
    "spaces and carriage returns": EVENTS_HEAD + CHUNKED + b"".join(map(chunk, SPACED)) + LAST_CHUNK,
    "all events in one chunk": EVENTS_HEAD + CHUNKED + chunk(b"".join(COMPACT)) + LAST_CHUNK,
    "chunks that end within an event": EVENTS_HEAD
    + CHUNKED
    + b"".join(chunk(b"".join(COMPACT)[at : at + 37]) for at in range(0, len(b"".join(COMPACT)), 37))
    + LAST_CHUNK,
    "reasoning, which is no content": EVENTS_HEAD + CHUNKED + b"".join(map(chunk, THINKING)) + LAST_CHUNK,
    "words joined": EVENTS_HEAD + CHUNKED + b"".join(map(chunk, JOINED)) + LAST_CHUNK,
    "words cut in two": EVENTS_HEAD + CHUNKED + b"".join(map(chunk, CUT)) + LAST_CHUNK,
    "a body with a length": EVENTS_HEAD + b"Content-Length: %d\r\n\r\n" % len(b"".join(COMPACT)) + b"".join(COMPACT),
}

in_every_form = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


def hear(answer: bytes, step: int, api: Api = "chat") -> tuple[Hearing, list[tuple[int, float]]]:
    """The answer, read in pieces; the clock counts the reads."""
    told: list[tuple[int, float]] = []
    hearing = Hearing(lambda count, now: told.append((count, now)), words.width(TAG), api)
    for number, at in enumerate(range(0, len(answer), step)):
        hearing.feed(answer[at : at + step], float(number))
    return hearing, told


def of_response(*said: tuple[str, str]) -> bytes:
    """Named events, by type and what is in them, and the end mark."""
    stream = b"".join(f'event: {kind}\ndata: {{"type":"{kind}",{fields}}}\n\n'.encode() for kind, fields in said)
    return EVENTS_HEAD + CHUNKED + chunk(stream + b"data: [DONE]\n\n") + LAST_CHUNK


@pytest.mark.parametrize("step", [1, 3, 64, 100_000])
def test_a_response_is_heard_by_its_deltas(step: int) -> None:
    whole = "".join(WORDS)
    answer = of_response(
        ("response.created", '"response":{"error":null}'),
        *(("response.output_text.delta", f'"delta":"{word}"') for word in WORDS),
        ("response.output_text.done", f'"text":"{whole}"'),
        ("response.completed", f'"response":{{"error":null,"output":[{{"text":"{whole}"}}]}}'),
    )

    hearing, _ = hear(answer, step, "responses")

    assert hearing.text == words.text(TAG, TOKENS)
    assert (hearing.done, hearing.complete, hearing.error) == (True, True, "")


def test_a_response_that_fails_is_heard_with_its_reason() -> None:
    answer = of_response(
        ("response.output_text.delta", f'"delta":"{WORDS[0]}"'),
        ("response.failed", '"response":{"error":{"code":"server_error","message":"the worker was lost"}}'),
    )

    assert "the worker was lost" in hear(answer, 40, "responses")[0].error


@in_every_form
@pytest.mark.parametrize("step", [1, 2, 3, 64, 100_000])
def test_the_same_is_heard_however_it_is_split(answer: bytes, step: int) -> None:
    hearing, told = hear(answer, step)

    assert hearing.text == words.text(TAG, TOKENS)
    assert sum(count for count, _ in told) == hearing.words == TOKENS
    assert (hearing.status, hearing.done, hearing.complete, hearing.error) == (200, True, True, "")


def test_words_are_told_with_the_moment_of_their_read() -> None:
    answer = ANSWERS["one event in each chunk"]
    before = answer.index(b"00001 ")

    told: list[tuple[int, float]] = []
    hearing = Hearing(lambda count, now: told.append((count, now)), words.width(TAG))
    hearing.feed(answer[:before], 1.0)
    hearing.feed(answer[before:], 2.0)

    assert told == [(1, 1.0), (2, 2.0)]


def test_a_refusal_is_heard_with_its_reason() -> None:
    body = b'{"error":{"message":"no slot","code":"overloaded"}}'
    refusal = b"HTTP/1.1 503 -\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)

    hearing, told = hear(refusal, 7)

    assert (hearing.status, hearing.complete, hearing.closes, told) == (503, True, True, [])
    assert "overloaded" in hearing.error


def test_an_error_in_the_middle_of_a_stream_is_heard() -> None:
    stream = [*COMPACT[:2], *events('{"error":{"message":"the worker was lost"}}')]
    answer = EVENTS_HEAD + CHUNKED + b"".join(map(chunk, stream)) + LAST_CHUNK

    hearing, _ = hear(answer, 50)

    assert (hearing.complete, hearing.done) == (True, False)
    assert "the worker was lost" in hearing.error


def test_a_body_that_ends_with_its_connection_is_complete_then() -> None:
    hearing, _ = hear(EVENTS_HEAD + b"\r\n" + b"".join(COMPACT), 50)
    assert not hearing.complete

    hearing.closed()

    assert hearing.complete


def test_a_chunked_body_that_is_cut_is_not_complete() -> None:
    hearing, _ = hear(ANSWERS["one event in each chunk"].removesuffix(LAST_CHUNK), 50)

    hearing.closed()

    assert not hearing.complete
