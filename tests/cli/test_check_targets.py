"""`trunkline check` on targets: name, connection, TLS, key, model, and a token only where that may cost something."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from protocol.settings import parse
from tests.broker.nats_server import NatsServer
from tests.cli.checking import check
from tests.cli.conftest import Terminal
from tests.tcp import listening
from tests.workers.fake_upstream import Exchange, chunk, says, upstream
from trunkline.check.findings import Finding
from trunkline.check.targets import judge_keys, look_at_targets
from trunkline.ports import free_port

CERTIFICATE = Path(__file__).with_name("upstream.pem")  # self-signed, for 127.0.0.1; its key is in there
MODELS = '{"data": [{"id": "gpt"}]}'
KEY = "sk-very-secret"
MESSAGE = """\
event: message_start
data: {"type": "message_start", "message": {"id": "m", "role": "assistant", "usage": {"input_tokens": 1}}}

event: content_block_start
data: {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}

"""


def configuration(base_url: str, more: str = "") -> str:
    """One target, `t`, of the model `m`."""
    return f'[models.m]\ntargets = ["t"]\n[targets.t]\nbase_url = "{base_url}"\nmodel = "gpt"\n{more}'


async def look(base_url: str, more: str = "", *, spend: bool = False, **environ: str) -> list[Finding]:
    """What is found of the target, and of its key."""
    settings = parse(configuration(base_url, more), environ)
    keys = judge_keys(settings, environ, served=set())
    seen = await look_at_targets(settings, environ, spend=spend)
    return [finding for one in seen for finding in (*one.rows(), *keys.get(one.name, []))]


async def look_once(base_url: str, more: str = "", *, spend: bool = False, **environ: str) -> Finding:
    """The one finding."""
    (finding,) = await look(base_url, more, spend=spend, **environ)
    return finding


async def lists(exchange: Exchange) -> None:
    """Has the model, and speaks."""
    if exchange.path.endswith("/models"):
        await exchange.plain(200, MODELS)
    else:
        await exchange.begin()
        await exchange.send(says("hi"))
        await exchange.end()


async def test_a_target_that_answers_is_fine_and_asked_for_no_token() -> None:
    async with upstream(lists) as fake:
        found = await look_once(fake.url)

    assert found.level == "ok"
    assert "connected to 127.0.0.1:" in found.text
    assert "lists gpt" in found.text
    assert [exchange.path for exchange in fake.seen] == ["/v1/models"]


async def test_a_token_is_asked_for_where_it_may_cost_something() -> None:
    async with upstream(lists) as fake:
        found = await look_once(fake.url, 'api_key_env = "SOME_KEY"', spend=True, SOME_KEY=f"{KEY}\n")

    assert (found.level, "first token after" in found.text) == ("ok", True)
    asked = [exchange for exchange in fake.seen if exchange.path == "/v1/chat/completions"]
    assert [(exchange.json["model"], exchange.json["max_tokens"]) for exchange in asked] == [("gpt", 256)]
    assert {exchange.headers["authorization"] for exchange in fake.seen} == {f"Bearer {KEY}"}
    assert "SOME_KEY is set" in found.text


async def test_a_model_that_reasons_at_length_has_answered_too() -> None:
    """Nobody waits for the end, which would cost more."""

    async def reasons(exchange: Exchange) -> None:
        if exchange.path.endswith("/models"):
            await exchange.plain(200, MODELS)
        else:
            await exchange.begin()
            await exchange.send(chunk({"reasoning_content": "hm"}))

    async with upstream(reasons) as fake:
        found = await look_once(fake.url, spend=True)

    assert (found.level, "first token after" in found.text) == ("ok", True)
    await fake.seen[-1].gone.wait()


async def test_an_upstream_that_refuses_to_speak_is_found_only_by_a_token() -> None:
    async def poor(exchange: Exchange) -> None:
        if exchange.path.endswith("/models"):
            await exchange.plain(200, MODELS)
        else:
            await exchange.plain(429, '{"error": {"code": "insufficient_quota", "message": "no money"}}')

    async with upstream(poor) as fake:
        free, paid = await look(fake.url), await look(fake.url, spend=True)

    assert [finding.level for finding in free] == ["ok"]
    assert [finding.level for finding in paid] == ["ok", "fail"]
    assert "asked for a token" in paid[1].text


async def test_a_target_is_asked_in_its_own_dialect_with_the_header_of_its_key() -> None:
    async def speaks(exchange: Exchange) -> None:
        if exchange.path.endswith("/models"):
            await exchange.plain(200, MODELS)
        else:
            await exchange.begin()
            await exchange.send(MESSAGE)

    async with upstream(speaks) as fake:
        found = await look(fake.url, 'dialect = "messages"\napi_key_env = "K"', spend=True, K=KEY)

    assert [finding.level for finding in found] == ["ok"], found
    assert "first token after" in found[0].text
    assert [exchange.path for exchange in fake.seen] == ["/v1/models", "/v1/messages"]
    assert [exchange.headers.get("x-api-key") for exchange in fake.seen] == [KEY, KEY]
    assert [exchange.headers.get("anthropic-version") for exchange in fake.seen] == ["2023-06-01"] * 2
    assert ["authorization" in exchange.headers for exchange in fake.seen] == [False, False]


async def test_the_second_target_of_a_model_is_asked_itself() -> None:
    async with upstream(lists) as first, upstream(lists) as second:
        more = f'[targets.u]\nbase_url = "{second.url}"\nmodel = "gpt"\npreset = "vllm"\n'
        settings = parse(configuration(first.url, more).replace('["t"]', '["t", "u"]'), {})
        seen = await look_at_targets(settings, {}, spend=True)

    assert [len(one.seen) for one in (first, second)] == [2, 2]
    assert all("first token after" in one.rows()[0].text for one in seen)
    assert [finding.text.split(":")[0] for finding in seen[1].findings] == ["unverified"]


async def test_models_that_callers_name_are_not_asked_for_a_token() -> None:
    async with upstream(lists) as fake:
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": fake.url}
        (seen,) = await look_at_targets(parse(None, environ), environ, spend=True)

    assert "no token asked for" in seen.rows()[0].text
    assert [exchange.path for exchange in fake.seen] == ["/v1/models"]


async def test_a_key_that_is_missing_is_named_and_nothing_is_sent() -> None:
    async with upstream(lists) as fake:
        fine, wrong = await look(fake.url, 'api_key_env = "SOME_KEY"', spend=True)

    assert (fine.level, wrong.level) == ("ok", "fail")
    assert wrong.text == "targets.t takes its key from SOME_KEY, which is not set"
    assert wrong.cure == "export SOME_KEY=…"
    assert fake.seen == []


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (401, "fail", "wants a key (401)"),
        (403, "warn", "may not list models"),
        (404, "ok", "lists no models (404)"),
        (500, "fail", "answers 500"),
    ],
)
async def test_what_the_list_of_models_answers_is_read(status: int, level: str, words: str) -> None:
    async with upstream(lambda exchange: exchange.plain(status, "")) as fake:
        found = await look(fake.url)

    assert [finding.level for finding in found if words in finding.text] == [level]


@pytest.mark.parametrize(
    ("base_url", "text", "cure"),
    [
        ("http://no-such-host.invalid/v1", "the name no-such-host.invalid is not known", "targets.t.base_url"),
        ("http://127.0.0.1:{port}/v1", "refuses connections (connection refused)", "start it, or correct"),
        ("https://127.0.0.1:{port}/v1", "refuses connections (connection refused)", "start it, or correct"),
    ],
)
async def test_a_target_that_cannot_be_reached_says_why(base_url: str, text: str, cure: str) -> None:
    found = await look_once(base_url.format(port=free_port("127.0.0.1")), spend=True)

    assert found.level == "fail"
    assert text in found.text
    assert cure in found.cure


async def test_a_target_that_accepts_and_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.check.targets.ANSWER_S", 0.2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read()

    async with listening(silent) as port:
        fine, wrong = await look(f"http://127.0.0.1:{port}/v1")

    assert (fine.level, wrong.level) == ("ok", "fail")
    assert "gives no answer to GET /models within 0.2 s" in wrong.text


@pytest.fixture
async def tls_port() -> AsyncIterator[int]:
    """An upstream behind a certificate that nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readline()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(MODELS)}\r\nConnection: close\r\n\r\n"
            writer.write(f"{head}{MODELS}".encode())

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_certificate_that_nobody_has_signed_is_refused(tls_port: int) -> None:
    found = await look_once(f"https://127.0.0.1:{tls_port}/v1")

    assert found.level == "fail"
    assert found.text == "its TLS certificate is refused: self-signed certificate"
    assert "SSL_CERT_FILE" in found.cure


async def test_a_certificate_for_another_name_is_refused(tls_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))

    found = await look_once(f"https://127.1:{tls_port}/v1")

    assert (found.level, "mismatch" in found.text) == ("fail", True), found


async def test_a_certificate_whose_issuer_is_known_says_how_long_it_holds(tls_port: int, terminal: Terminal) -> None:
    """In a process of its own: what certificates it knows is read once."""
    url = f"https://127.0.0.1:{tls_port}/v1"
    (terminal.directory / "trunkline.toml").write_text(configuration(url))
    nowhere = f"nats://127.0.0.1:{free_port('127.0.0.1')}"

    checked = await check(terminal, TRUNKLINE_NATS__URL=nowhere, SSL_CERT_FILE=str(CERTIFICATE))

    row = checked.row("targets", "t")
    assert row["level"] == "ok", row
    assert "TLS certificate until 2126-" in row["text"]
    assert "lists gpt" in row["text"]


async def test_tls_with_a_server_that_speaks_none_is_said_so() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

    async with listening(plain) as port:
        found = await look_once(f"https://127.0.0.1:{port}/v1")

    assert found.text.startswith("TLS fails")
    assert "else write http://" in found.cure


async def test_the_date_of_an_answer_is_compared_with_our_clock() -> None:
    async def late(exchange: Exchange) -> None:
        await exchange.plain(200, MODELS, "Date: Tue, 01 Jan 2030 12:00:00 GMT")

    async with upstream(late) as fake:
        (seen,) = await look_at_targets(parse(configuration(fake.url), {}), {}, spend=False)

    (reading,) = seen.readings
    assert reading.whose == "target t"
    assert abs(reading.ahead_s) > 2


async def test_a_target_that_no_model_uses_is_a_warning() -> None:
    async with upstream(lists) as fake:
        more = f'[targets.spare]\nbase_url = "{fake.url}"\nmodel = "gpt"\n'
        found = await look(fake.url, more, spend=True)

    assert {(finding.name, finding.level) for finding in found} == {("t", "ok"), ("spare", "ok"), ("spare", "warn")}
    assert [exchange.path for exchange in fake.seen].count("/v1/chat/completions") == 1


async def test_keys_are_named_and_never_shown(terminal: Terminal, nats_server: NatsServer) -> None:
    """A key that only the workers have is no reason to sound the alarm."""
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "keys"}
    async with upstream(lists) as fake:
        (terminal.directory / "trunkline.toml").write_text(configuration(fake.url, 'api_key_env = "SOME_KEY"'))
        nobody_has_it = await check(terminal, "--spend", **where)
        asked_without = len(fake.seen)
        worker = terminal.start("worker --json", **where, SOME_KEY=KEY)
        await worker.first_line()
        worker_has_it = await check(terminal, "--spend", **where)
        here_too = await check(terminal, "--spend", **where, SOME_KEY=KEY)

    assert [checked.wrong().get(("targets", "t")) for checked in (nobody_has_it, worker_has_it, here_too)] == [
        "fail",
        "warn",
        None,
    ]
    assert (nobody_has_it.code, here_too.code, asked_without) == (1, 0, 0)
    assert "the workers that run have it" in worker_has_it.rows("targets", "t")[1]["text"]
    assert "first token after" in here_too.row("targets", "t")["text"]
    assert KEY not in here_too.text
