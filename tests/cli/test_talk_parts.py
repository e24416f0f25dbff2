"""What `trunkline talk` is made of, where no terminal is needed: events, history, figures, keys."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from protocol.messages import TurnRecord
from protocol.settings import SettingsError, parse
from trunkline import run_file
from trunkline.talk import tools
from trunkline.talk.address import find
from trunkline.talk.chunks import Call, Called, ChunkReader, Declined, Ended, Function, Piece, Said, Spent, Thought
from trunkline.talk.client import Client, Opened
from trunkline.talk.failure import Failure
from trunkline.talk.figures import figures, ms
from trunkline.talk.history import History
from trunkline.talk.keyboard import Dropped, LineKeyboard
from trunkline.talk.records import Records
from trunkline.talk.show import printable
from trunkline.talk.turn import Turn

TRACE = "0af7651916cd43dd8448eb211c80319c"
KEYS = {"TRUNKLINE_API_KEYS": "me:sk-mine,you:sk-yours"}

# --- events ----------------------------------------------------------------------------------------


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    return msgspec.json.encode({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more})


def read(*events: bytes) -> list[Piece]:
    reader = ChunkReader()
    return [piece for event in events for piece in reader.read(event)] + reader.end()


@pytest.mark.parametrize(
    ("events", "pieces"),
    [
        ([chunk({"role": "assistant", "content": ""}), chunk({"content": "hi"}), chunk({}, "stop")], [Said("hi")]),
        ([chunk({"reasoning_content": "hm"}), chunk({"content": "hi"}, "stop")], [Thought("hm"), Said("hi")]),
        ([chunk({"reasoning": "hm", "content": "hi"}, "stop")], [Thought("hm"), Said("hi")]),
        ([chunk({"refusal": "no"}, "stop")], [Declined("no")]),
    ],
)
@pytest.mark.parametrize("mark", [[b"[DONE]"], []])
def test_an_answer_is_read_with_and_without_its_end_mark(
    events: list[bytes], pieces: list[Piece], mark: list[bytes]
) -> None:
    assert read(*events, *mark) == [*pieces, Ended("stop")]


def test_tokens_are_counted_without_reasoning() -> None:
    usage = {"completion_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 9}}

    assert read(chunk({}, "stop"), msgspec.json.encode({"choices": [], "usage": usage}))[0] == Spent(3)


def test_a_call_that_comes_in_pieces_is_put_together() -> None:
    """The line sends whole calls; other servers do not."""
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "find", "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": part}} for part in ('{"a"', ":1}")]

    pieces = read(*(chunk({"tool_calls": [call]}) for call in (first, *rest)), chunk({}, "tool_calls"))

    assert pieces == [Called((Call("call_1", Function("find", '{"a":1}')),)), Ended("tool_calls")]


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([b'{"error": {"message": "worker gone", "code": "worker_lost"}}'], "broke off: worker gone (worker_lost)"),
        ([b'{"error": {"message": null, "code": 500}}'], "broke off: the other end says no more (500)"),
        ([b'{"error": "out of memory"}'], "broke off: out of memory"),
        ([chunk({"content": "hi"})], "its stream ended without a finish reason"),
        ([b"<html>"], "no chat completion chunk"),
        ([b"[" * 100_000], "no chat completion chunk"),
    ],
)
def test_an_answer_that_breaks_off_is_a_failure(events: list[bytes], words: str) -> None:
    with pytest.raises(Failure) as caught:
        read(*events)

    assert words in str(caught.value)


# --- history ---------------------------------------------------------------------------------------


def messages(history: History) -> Any:
    return msgspec.json.decode(history.body("m"))["messages"]


def test_a_history_keeps_what_was_heard_and_nothing_else() -> None:
    history = History("Be brief.")
    history.said("one")
    history.heard("")
    history.said("two")
    history.heard("half an ans")

    assert messages(history) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "half an ans"},
    ]


def test_what_is_taken_back_ends_with_the_callers_last_words() -> None:
    history, call = History(), Call("call_1", Function("find", "{}"))
    nothing = history.take_back()
    history.said("one")
    history.called("", (call,), ["found"])
    history.heard("here it is")

    assert (nothing, history.take_back()) == (False, True)
    assert messages(history) == [{"role": "user", "content": "one"}]


def test_calls_go_back_with_their_results() -> None:
    history, call = History(), Call("call_1", Function("find", "{}"))
    history.called("a moment", (call,), ["found"])

    assert messages(history) == [
        {
            "role": "assistant",
            "content": "a moment",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "find", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "found", "tool_call_id": "call_1"},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no JSON list of tools"),
        (b"[]", "has no tool in it"),
        (b'[{"type": "function"}]', "no JSON list of tools"),
        (b'[{"function": {"name": "two words"}}]', "'two words' has not"),
    ],
)
def test_tools_that_are_none_are_refused(text: bytes, words: str) -> None:
    with pytest.raises(Failure, match=words):
        tools.parse(text, source="tools.json")


def test_tools_are_sent_as_they_were_written() -> None:
    mine = b'{"type":"function","function":{"name":"find","x-mine":[1.50]}}'

    assert mine in History().body("m", tools=tools.parse(b"[%b]" % mine, source="tools.json").sent)


# --- figures ---------------------------------------------------------------------------------------


def turn(**more: Any) -> Turn:
    return Turn(**{"began": 10.0, "first_at": 10.25, "last_at": 11.25, "ended": 11.3, "pieces": 21, **more})


def record(**more: Any) -> TurnRecord:
    said = {"id": "turn_1", "tenant": "me", "model": "m", "outcome": "completed", "started_at": "", **more}
    return TurnRecord(**said)


@pytest.mark.parametrize(
    ("turn", "record", "line"),
    [
        (turn(), None, "first 250 ms · total 1.30 s · 20.0 tokens/s"),
        (turn(trace_id="abc"), None, "first 250 ms · total 1.30 s · 20.0 tokens/s · trace abc"),
        (
            turn(spent=1001, trace_id="abc"),
            record(queue_ms=0.61, worker="w1"),
            "first 250 ms · total 1.30 s · 1,000 tokens/s · queue 0.6 ms · worker w1 · trace abc",
        ),
        (turn(pieces=1), None, "first 250 ms · total 1.30 s"),
        (turn(first_at=None, last_at=None, interrupted=True), None, "interrupted · total 1.30 s"),
        (
            turn(interrupted=True),
            record(worker="w1", cancel_ms=1.43),
            "interrupted, upstream stopped in 1.4 ms · first 250 ms · total 1.30 s · 20.0 tokens/s · worker w1",
        ),
        (
            turn(pieces=1, interrupted=True),
            record(worker="w1", cancel_ms=1.43, unheard=12),
            "interrupted, upstream stopped in 1.4 ms, 12 tokens unheard · first 250 ms · total 1.30 s · worker w1",
        ),
        (
            turn(first_at=None, last_at=None, interrupted=True),
            record(worker="w1", cancel_ms=1.43, unheard=1, unheard_cost=0.0025),
            "interrupted, upstream stopped in 1.4 ms, 1 token unheard (cost 0.0025) · total 1.30 s · worker w1",
        ),
        (
            turn(first_at=None, last_at=None, interrupted=True),
            record(trace_id="abc"),
            "interrupted before a worker had it · total 1.30 s · trace abc",
        ),
        (
            turn(pieces=1, interrupted=True),
            record(worker="w1", finish_reason="stop"),
            "interrupted when the model had finished · first 250 ms · total 1.30 s · worker w1",
        ),
        (turn(pieces=1, reason="length"), None, "cut at its length limit · first 250 ms · total 1.30 s"),
    ],
)
def test_the_figures_are_one_line(turn: Turn, record: TurnRecord | None, line: str) -> None:
    assert figures(turn, record) == line


@pytest.mark.parametrize(("value", "shown"), [(0.04, "0.0 ms"), (9.94, "9.9 ms"), (10, "10 ms"), (1000, "1.00 s")])
def test_durations_are_taken_in_at_a_glance(value: float, shown: str) -> None:
    assert ms(value) == shown


def test_only_what_is_heard_counts_as_first() -> None:
    one = Turn(began=0.0)
    told: list[Opened | Piece] = [Opened("turn_1", TRACE), Thought("hm"), Said("hi "), Said("there"), Ended("stop")]
    for now, piece in enumerate(told):
        one.hear(piece, float(now))

    assert (one.first_at, one.last_at, one.text, one.tokens, one.trace_id) == (2.0, 3.0, "hi there", 2, TRACE)


async def test_a_record_is_known_by_its_turn_or_else_by_its_call() -> None:
    records = Records("talk-1")
    records.ready.set()
    for name, call in (("turn_1", "other"), ("turn_2", "talk-1"), ("turn_3", "talk-1")):
        records.hear(record(id=name, call_id=call))

    found = [await records.of("turn_2", 0), await records.of(None, 0), await records.of(None, 0)]

    assert [one and one.id for one in found] == ["turn_2", "turn_3", None]


async def test_a_record_may_come_later() -> None:
    records = Records("talk-1")
    records.ready.set()
    waiting = asyncio.create_task(records.of("turn_1", 30))
    await asyncio.sleep(0)
    records.hear(record(id="turn_0"))
    await asyncio.sleep(0)
    records.hear(record(id="turn_1"))

    found = await waiting

    assert found is not None
    assert found.id == "turn_1"


def test_what_steers_a_terminal_is_left_out() -> None:
    assert printable("a\x1b[31mb\x07\r\nc\td\x9b2Je\x00ü€") == "a[31mb\nc\td2Jeü€"


# --- where and as whom -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "url", "key_env", "found"),
    [
        ({}, None, None, ("http://127.0.0.1:8080", None)),
        (KEYS, None, None, ("http://127.0.0.1:8080", "sk-mine")),
        ({**KEYS, "TRUNKLINE_EDGE__HOST": "0.0.0.0"}, None, None, ("http://127.0.0.1:8080", "sk-mine")),
        ({"TRUNKLINE_EDGE__HOST": "::1"}, None, None, ("http://[::1]:8080", None)),
        (KEYS, "http://localhost:1/v1/", None, ("http://localhost:1", "sk-mine")),
        (KEYS, "https://api.stranger.example/v1", None, ("https://api.stranger.example", None)),
        ({"OPENAI_API_KEY": "sk-other"}, "http://localhost:1", None, ("http://localhost:1", None)),
        ({**KEYS, "MY_KEY": " sk-named\n"}, "https://api.stranger.example", "MY_KEY", (..., "sk-named")),
    ],
)
def test_a_key_goes_to_this_machines_line_or_where_it_is_sent(
    tmp_path: Path, environ: dict[str, str], url: str | None, key_env: str | None, found: tuple[Any, str | None]
) -> None:
    settings = parse(None, {**environ, "TRUNKLINE_DATA_DIR": str(tmp_path)})

    address = find(settings, environ, url=url, key_env=key_env)

    assert address.key == found[1]
    assert found[0] in (..., address.url)
    assert "sk-" not in repr(address)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}'])
def test_the_line_that_runs_is_found_by_what_it_wrote_down(tmp_path: Path, text: str) -> None:
    settings = parse(None, {"TRUNKLINE_DATA_DIR": str(tmp_path)})
    run_file.write(tmp_path, {"url": "http://127.0.0.1:18080"}, {})
    running = find(settings, {}, url=None, key_env=None)
    (tmp_path / run_file.NAME).write_text(text)
    broken = find(settings, {}, url=None, key_env=None)

    assert (running.url, broken.url) == ("http://127.0.0.1:18080", "http://127.0.0.1:8080")


def test_a_key_that_is_none_is_not_quoted() -> None:
    with pytest.raises(SettingsError, match="MY_KEY holds no key") as caught:
        find(parse(None, {}), {"MY_KEY": "sk mine"}, url=None, key_env="MY_KEY")

    assert "sk" not in str(caught.value)


async def test_what_is_no_such_api_is_said_so(aiohttp_server: Any) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>")

    app = web.Application()
    app.add_routes([web.get("/v1/models", page), web.post("/v1/chat/completions", page)])
    app.add_routes([web.get("/down/v1/models", broken)])
    url = str((await aiohttp_server(app)).make_url("")).rstrip("/")

    async with Client(url, key=None, headers={}) as client, Client(f"{url}/down", key=None, headers={}) as down:
        with pytest.raises(Failure, match=r"/v1/models is no list of models; is this such an API?"):
            await client.models()
        with pytest.raises(Failure, match=r"answered with text/html, no event stream; is it such an API?"):
            await client.ask(b"{}", lambda _: None)
        with pytest.raises(Failure, match=r"502: Bad Gateway from .*/down, and no error object"):
            await down.models()


def test_a_space_that_nobody_hears_was_taken_for_the_first_word() -> None:
    turn = Turn(began=0.0)

    for at, text in ((3.0, " "), (4.0, "I "), (4.5, "know")):
        turn.hear(Said(text), at)

    assert (turn.first_at, turn.last_at, turn.text) == (4.0, 4.5, " I know")


async def test_ctrl_c_in_between_two_prompts_ended_the_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a plain terminal. It counts at the next prompt."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb", buffering=0) as typed:
        monkeypatch.setattr(sys, "stdin", stdin)
        keyboard = LineKeyboard()
        async with asyncio.timeout(10):
            with keyboard.opened():
                signal.raise_signal(signal.SIGINT)
                with pytest.raises(Dropped):
                    await keyboard.line("you> ")
                typed.write(b"hello\n")
                said = await keyboard.line("you> ")

    assert said == "hello"
