"""What bad input gets from a real edge: the contract's error object, and a good turn right after."""

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import fields

from bench.client import fetch
from bench.http1 import ResponseReader
from bench.line import NATS_CONF
from edge.chat_form import ChatBody
from tests.broker.halves import eventually
from tests.broker.line_fixture import RealLine, real_line
from tests.edge import test_responses_body, test_responses_body_near
from tests.edge.near import Place, changed, places, values
from tests.edge.test_chat_body import FAULTS, NEAR, PLACES

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_PAYLOAD = 512 << 10  # of this line's NATS server
PATH, RESPONSES = "/v1/chat/completions", "/v1/responses"
GOOD: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "one two"}]}
HEAD = json.dumps(GOOD).encode()[:-1]
CANARY = "canary-in-a-bad-body"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealLine]:
    """One edge and one worker on a server that takes small messages only; nothing of what came in is logged."""
    directory = tmp_path_factory.mktemp("line")
    conf = directory / "nats.conf"
    conf.write_text(f"{NATS_CONF.read_text()}\nmax_payload: {MAX_PAYLOAD}\n")
    async with real_line(directory, nats_conf=conf) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()
        assert "the bus is away" not in line.logs()
        assert CANARY not in line.logs()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(line: RealLine) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(line.edges[0].url, timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


class Answer(NamedTuple):
    """What came back."""

    status: int
    error: dict[str, Any]
    body: bytes


async def send(
    web: aiohttp.ClientSession, data: Any, headers: Mapping[str, str] | None = None, path: str = PATH
) -> Answer:
    """One request, as it is. What is refused is told by the contract's object, and quotes nothing."""
    body_of = io.BytesIO(data) if isinstance(data, bytes) else data  # aiohttp warns of long bytes
    headers = {"Content-Type": "application/json", **(headers or {})}
    async with web.post(path, data=body_of, headers=headers) as answer:
        body = await answer.read()
        if answer.status < 400:
            return Answer(answer.status, {}, body)
        assert answer.content_type == "application/json"
        assert answer.headers["x-request-id"]
    error = json.loads(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert CANARY not in body.decode()
    return Answer(answer.status, error, body)


async def a_good_turn_succeeds(web: aiohttp.ClientSession) -> None:
    answer = await send(web, HEAD + b"}")
    assert answer.status == 200
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "one two"


async def is_refused(
    web: aiohttp.ClientSession,
    data: Any,
    status: int = 400,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """With that status, `code` and `param`; and the process goes on."""
    answer = await send(web, data, headers)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, param), answer.error
    assert answer.error["type"] == "invalid_request_error"
    await a_good_turn_succeeds(web)


# --- bodies that are no request ----------------------------------------------------------------------

NO_JSON: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "a form": b"model=echo&messages=hello",
    "not an object": b'["echo"]',
    "a string": b'"hello"',
    "a number": b"7",
    "a huge number": b"1e999",
    "null": b"null",
    "truncated": HEAD,
    "truncated in a string": HEAD[:-6],
    "truncated in an escape": b'{"model":"\\u00',
    "trailing": HEAD + b"} }",
    "two objects": HEAD + b"}" + HEAD + b"}",
    "a byte order mark": b"\xef\xbb\xbf" + HEAD + b"}",
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "invalid UTF-8": HEAD[:-4] + b"\xff\xfe" + HEAD[-4:] + b"}",
    "half a character": HEAD + b',"user":"\xf0\x9f\x98"}',
    "an overlong character": HEAD + b',"user":"\xc0\xaf"}',
    "a surrogate in UTF-8": HEAD + b',"user":"\xed\xa0\x80"}',
    "NUL": b"\x00",
    "NUL before": b"\x00" + HEAD + b"}",
    "NUL between": HEAD + b"\x00}",
    "NUL in a string": HEAD + b',"user":"a\x00b"}',
    "a control character in a string": HEAD + b',"user":"a\nb"}',
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets, closed": b"[" * 100_000 + b"]" * 100_000,
    "100,000 brackets in a message": b'{"model":"echo","messages":' + b"[" * 100_000,
    "100,000 brackets where nobody looks": HEAD + b',"stranger":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects": b'{"messages":' * 100_000,
    "NaN": HEAD + b',"temperature":NaN}',
    "Infinity": HEAD + b',"temperature":-Infinity}',
    "a leading zero": HEAD + b',"seed":01}',
    "single quotes": b"{'model':'echo'}",
    "a comment": HEAD + b"/* */}",
    "a comma at the end": HEAD + b",}",
    "the canary": CANARY.encode(),
}


@pytest.mark.parametrize("name", NO_JSON)
async def test_what_is_no_json_object_is_a_400(web: aiohttp.ClientSession, name: str) -> None:
    await is_refused(web, NO_JSON[name])


ODD_BUT_GOOD: dict[str, bytes] = {
    "a pair of surrogates": HEAD + b',"user":"\\ud83d\\ude00"}',
    "a lone high surrogate": HEAD + b',"user":"\\ud83d"}',
    "a lone low surrogate": HEAD + b',"user":"\\ude00"}',
    "a lone surrogate where nobody looks": HEAD + b',"stranger":{"\\udfff":1}}',
    "surrogates in the wrong order": HEAD + b',"user":"\\ude00\\ud83d"}',
    "NUL as an escape": HEAD + b',"user":"a\\u0000b"}',
    "duplicate keys: the last counts": b'{"model":"nobody","stream":true,"stream":false,' + HEAD[1:] + b"}",
    "a key that is empty": HEAD + b',"":1}',
    "huge numbers where nobody looks": HEAD + b',"stranger":[1e999,' + b"9" * 400 + b"]}",
    "white space around": b"\r\n\t " + HEAD + b"}\n\n",
    "a thousand strangers": HEAD + b"".join(b',"s%d":{"x":[1]}' % number for number in range(1000)) + b"}",
    "an escaped name": HEAD.replace(b'"model"', b'"\\u006dodel"') + b"}",
}


@pytest.mark.parametrize("name", ODD_BUT_GOOD)
async def test_what_is_only_odd_is_answered(web: aiohttp.ClientSession, name: str) -> None:
    answer = await send(web, ODD_BUT_GOOD[name])

    assert answer.status == 200
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "one two"


# --- fields ------------------------------------------------------------------------------------------

OBJECT, LIST = {CANARY: 1}, [{CANARY: 1}]
OF_A_WRONG_TYPE: dict[str, tuple[Any, str]] = {
    **{name: (OBJECT, name) for name in ("model", "messages", "stream", "temperature", "top_p", "presence_penalty")},
    **{name: (OBJECT, name) for name in ("frequency_penalty", "max_completion_tokens", "max_tokens", "n", "stop")},
    **{name: (LIST, name) for name in ("seed", "logprobs", "top_logprobs", "reasoning_effort", "verbosity", "user")},
    **{name: (OBJECT, name) for name in ("service_tier", "modalities", "tools", "functions", "parallel_tool_calls")},
    **{name: (LIST, name) for name in ("stream_options", "tool_choice", "function_call", "response_format")},
}
ANY_SHAPE = {item.name for item in fields(ChatBody) if item.type is Raw}


async def test_the_table_of_wrong_types_names_every_field() -> None:
    assert {*OF_A_WRONG_TYPE, *ANY_SHAPE} == {item.name for item in fields(ChatBody)}


@pytest.mark.parametrize("name", OF_A_WRONG_TYPE)
async def test_a_field_of_a_wrong_type_is_named(web: aiohttp.ClientSession, name: str) -> None:
    value, param = OF_A_WRONG_TYPE[name]

    await is_refused(web, json.dumps({**GOOD, name: value}).encode(), 400, "invalid_type", param)


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"messages": GOOD["messages"]}, 400, "missing_required_parameter", "model"),
        ({"model": "echo"}, 400, "missing_required_parameter", "messages"),
        ({"model": "echo", "messages": []}, 400, "empty_array", "messages"),
        ({**GOOD, "messages": [{}]}, 400, "missing_required_parameter", "messages[0].role"),
        ({**GOOD, "messages": [{"role": "caller", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
        ({**GOOD, "messages": [*GOOD["messages"], {"role": "user", "content": 7}]}, 400, "invalid_type", None),
        ({**GOOD, "model": "nobody"}, 404, "model_not_found", "model"),
        ({**GOOD, "model": "a/b"}, 404, "model_not_found", "model"),
        ({**GOOD, "model": "openai/gpt"}, 404, "model_not_found", "model"),
        ({**GOOD, "model": "x" * 100_000}, 404, "model_not_found", "model"),
        ({**GOOD, "model": "\n\x00\x1b[31m"}, 404, "model_not_found", "model"),
        ({**GOOD, "n": 2}, 400, "unsupported_value", "n"),
        ({**GOOD, "temperature": 3}, 400, "decimal_above_max_value", "temperature"),
        ({**GOOD, "metadata": {"echo.rate": "fast"}}, 400, "invalid_value", "metadata.echo.rate"),
    ],
)
async def test_a_fault_in_a_field_is_told_with_its_place(
    web: aiohttp.ClientSession, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    for stream in (False, True):  # no stream begins with an error
        await is_refused(web, json.dumps({**body, "stream": stream}), status, code, param or "messages[1].content")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (b"1e999", "decimal_above_max_value"),
        (b"1" * 400, "decimal_above_max_value"),
        (b"-1e999", "decimal_above_max_value"),
        (b"1e-999", None),
    ],
)
async def test_a_huge_number_is_out_of_range(web: aiohttp.ClientSession, number: bytes, code: str | None) -> None:
    body = HEAD + b',"temperature":' + number + b"}"
    if code is None:
        assert (await send(web, body)).status == 200
    else:
        await is_refused(web, body, 400, code, "temperature")


async def test_a_huge_whole_number_is_out_of_range(web: aiohttp.ClientSession) -> None:
    for name in ("seed", "n", "top_logprobs"):
        body = HEAD + b',"logprobs":true,"%b":%b}' % (name.encode(), b"9" * 400)
        await is_refused(web, body, 400, "integer_above_max_value", name)


async def test_every_known_fault_gets_the_same_answer_over_the_wire(web: aiohttp.ClientSession) -> None:
    for path, faults in ((PATH, FAULTS), (RESPONSES, test_responses_body.FAULTS)):
        for data, code, param in faults:
            answer = await send(web, data, path=path)
            assert (answer.status, answer.error["code"], answer.error["param"]) == (400, code, param)
    await a_good_turn_succeeds(web)


# --- transport ---------------------------------------------------------------------------------------

PACKED = gzip.compress(json.dumps(GOOD).encode())


@pytest.mark.parametrize(
    ("encoding", "data", "status"),
    [
        ("gzip", PACKED, 200),
        ("deflate", zlib.compress(json.dumps(GOOD).encode()), 200),
        ("identity", HEAD + b"}", 200),
        ("gzip", HEAD + b"}", 400),
        ("gzip", PACKED[:-12], 400),
        ("gzip", b"\x1f\x8b" + b"\xff" * 100, 400),
        ("gzip", b"", 400),
        ("deflate", b"\xff" * 100, 400),
        ("br", b"\xff" * 100, 400),
        ("zstd", b"\xff" * 100, 400),
        ("nonsense", PACKED, 400),
        ("utf-8", HEAD + b"}", 200),
        ("GZIP", PACKED + b"more", 200),
        ("gzip", gzip.compress(b" " * (64 << 20)), 413),  # a bomb
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_wrong_content_encoding_is_told(
    web: aiohttp.ClientSession, encoding: str, data: bytes, status: int
) -> None:
    answer = await send(web, data, {"Content-Encoding": encoding})

    assert (answer.status, answer.error.get("code"), answer.error.get("param")) == (status, None, None)
    assert status != 400 or "content-encoding" in answer.error["message"] or encoding in answer.error["message"]
    await a_good_turn_succeeds(web)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png", "nonsense", ""])
async def test_the_content_type_does_not_matter(web: aiohttp.ClientSession, kind: str) -> None:
    assert (await send(web, HEAD + b"}", {"Content-Type": kind})).status == 200
    await is_refused(web, b"{", headers={"Content-Type": kind})


async def parts(data: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not told."""
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]


async def test_a_body_over_the_limit_is_a_413(web: aiohttp.ClientSession) -> None:
    body = json.dumps({**GOOD, "user": "x" * (9 << 20)}).encode()

    await is_refused(web, body, 413)
    await is_refused(web, parts(body), 413)


@pytest.mark.parametrize("head", ["Content-Length: 500", "Content-Length: 0", "Transfer-Encoding: chunked"])
async def test_a_client_that_breaks_off_costs_nothing(line: RealLine, web: aiohttp.ClientSession, head: str) -> None:
    host, port = line.edges[0].url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\n{head}\r\n\r\n".encode() + HEAD)
    await writer.drain()
    writer.close()

    await a_good_turn_succeeds(web)


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"POST /v1/chat/completions HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nA: " + b"y" * 20_000 + b"\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\x00: y\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\x00\r\n\r\n" % CANARY.encode(),
        b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_good_http_is_a_4xx(line: RealLine, web: aiohttp.ClientSession, request_: bytes) -> None:
    host, port = line.edges[0].url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    response = ResponseReader()
    body = b""
    try:
        writer.write(request_)
        async with asyncio.timeout(5):
            while not response.complete and (data := await reader.read(65536)):
                body += response.feed(data)
    finally:
        writer.close()

    assert response.status is not None
    assert 400 <= response.status < 500
    told = json.loads(body)["error"]["message"]
    assert CANARY not in told
    await a_good_turn_succeeds(web)


@pytest.mark.parametrize(
    ("request_", "status", "told"),
    [
        (b"BREW /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 405, "no such method"),
        (b"get /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", 405, "no such method"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "plain HTTP"),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400, "too long"),
    ],
)
async def test_what_is_wrong_with_it_is_told_and_logged(
    line: RealLine, request_: bytes, status: int, told: str
) -> None:
    host, port = line.edges[0].url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()

    head, _, body = answer.partition(b"\r\n\r\n")
    turn = head.lower().partition(b"x-request-id: ")[2].split(b"\r\n")[0].decode()
    assert int(head.split()[1]) == status
    assert (b"allow: delete, get, head, post" in head.lower()) == (status == 405)
    assert told in json.loads(body)["error"]["message"]
    await eventually(lambda: turn in line.logs())


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "00-" + "g" * 32 + "-" + "h" * 16 + "-01", "tracestate": "=" * 600},
        {"x-stainless-read-timeout": "nan", "X-Conversation-Id": "\t"},
        {"x-stainless-read-timeout": "-1", "X-Conversation-Id": "x" * 5000},
        {"x-stainless-read-timeout": "1e400", "X-Conversation-Id": "ünïcode"},
        {"Authorization": "Bearer " + "x" * 4000},
        {"Accept": "text/html", "Expect": "100-continue"},
        {"Expect": "a miracle"},
    ],
)
async def test_odd_headers_cost_no_turn(web: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    answer = await send(web, HEAD + b"}", headers)

    assert answer.status == 200
    await a_good_turn_succeeds(web)


# --- the bus -----------------------------------------------------------------------------------------


def of_length(length: int, **more: Any) -> bytes:
    """A good body whose caller says that many characters."""
    body = {**GOOD, "messages": [{"role": "user", "content": "x" * length}], "max_tokens": 1, **more}
    return json.dumps(body).encode()


async def test_a_job_over_what_the_bus_takes_is_a_413_and_the_bus_stays(
    line: RealLine, web: aiohttp.ClientSession
) -> None:
    for stream in (False, True):
        await is_refused(web, of_length(MAX_PAYLOAD, stream=stream), 413)
    await is_refused(web, of_length(2 * MAX_PAYLOAD), 413)

    _, ready = await fetch(f"{line.edges[0].url}/ready")
    assert json.loads(ready)["nats"] is True
    assert "the bus is away" not in line.logs()


async def test_at_the_edge_of_what_the_bus_takes_a_job_goes_through_or_is_a_413(
    line: RealLine, web: aiohttp.ClientSession
) -> None:
    """Headers count: a job that is one byte too long would close the client's connection for good."""

    async def is_taken(length: int, headers: dict[str, str]) -> bool:
        answer = await send(web, of_length(length), headers)
        assert answer.status in (200, 413)
        return answer.status == 200

    traced = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "a=" + "b" * 200}
    headers: dict[str, str]
    for headers in ({}, traced):
        low, high = MAX_PAYLOAD // 2, MAX_PAYLOAD
        assert await is_taken(low, headers)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await is_taken(middle, headers) else (low, middle)
        assert MAX_PAYLOAD - low < 1500
        await a_good_turn_succeeds(web)
    assert "the bus is away" not in line.logs()


# --- fuzz --------------------------------------------------------------------------------------------

fuzz = settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])


async def only_an_answer_or_a_refusal(web: aiohttp.ClientSession, data: bytes, path: str = PATH) -> None:
    answer = await send(web, data, path=path)
    assert answer.status == 200 or 400 <= answer.status < 500
    await a_good_turn_succeeds(web)


@fuzz
@given(place=st.sampled_from(PLACES), new=values | st.just(...), stream=st.booleans())
async def test_json_near_a_good_body_is_answered_or_refused(
    web: aiohttp.ClientSession, place: tuple[str | int, ...], new: Any, stream: bool
) -> None:
    near = {**NEAR, "stream": stream}
    await only_an_answer_or_a_refusal(web, json.dumps(changed(near, place, new)).encode())


NEAR_RESPONSE = {**test_responses_body_near.NEAR, "previous_response_id": None}
NEAR_RESPONSE["input"] = NEAR_RESPONSE["input"][:-1]
"""Without what it goes on from, and what it only names: that is not there, and would be refused before all else."""


@fuzz
@given(place=st.sampled_from(places(NEAR_RESPONSE)), new=values | st.just(...), stream=st.booleans())
async def test_json_near_a_request_for_a_response_is_answered_or_refused(
    web: aiohttp.ClientSession, place: Place, new: Any, stream: bool
) -> None:
    near = {**NEAR_RESPONSE, "stream": stream}
    await only_an_answer_or_a_refusal(web, json.dumps(changed(near, place, new)).encode(), RESPONSES)


@fuzz
@given(at=st.integers(0, 10_000), cut=st.integers(0, 5), piece=st.binary(max_size=5))
async def test_bytes_near_a_good_body_are_answered_or_refused(
    web: aiohttp.ClientSession, at: int, cut: int, piece: bytes
) -> None:
    data = json.dumps(NEAR).encode()
    at %= len(data)
    await only_an_answer_or_a_refusal(web, data[:at] + piece + data[at + cut :])


@fuzz
@given(data=st.binary(max_size=200), encoding=st.sampled_from(["identity", "gzip", "deflate", "nonsense"]))
async def test_any_bytes_are_refused(web: aiohttp.ClientSession, data: bytes, encoding: str) -> None:
    answer = await send(web, data, {"Content-Encoding": encoding})
    assert 400 <= answer.status < 500
    await a_good_turn_succeeds(web)
