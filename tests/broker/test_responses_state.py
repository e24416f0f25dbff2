"""Conversations that go on from stored responses, on a real line: two edges, a worker, an upstream, a NATS server."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import nats
import pytest
import pytest_asyncio

from bench.polling import until
from protocol.streams import ResponseLimits, responses_config
from protocol.subjects import Subjects
from tests.broker.line_fixture import SETTLE_S, RealLine, real_line
from tests.workers.fake_upstream import DONE, Exchange, FakeUpstream, chunk, says, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/responses"
KEYS = {"desk": "sk-desk-0123456789", "other": "sk-other-0123456789"}
SUBJECTS = Subjects("trunkline")
MAX_BYTES = 20_000
SLOWLY = "slowly"  # said by a caller who is to hear one word, and no end
ORIGIN = "https://app.example.com"


class Told(NamedTuple):
    """An answer."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]

    @property
    def error(self) -> tuple[int, str | None]:
        return self.status, self.body["error"]["code"]

    @property
    def text(self) -> str:
        return "".join(part["text"] for item in self.body["output"] for part in item["content"])


async def answer(exchange: Exchange) -> None:
    """Counts the messages; or says one word and waits to be left."""
    messages = exchange.json["messages"]
    await exchange.begin()
    if messages[-1]["content"] == SLOWLY:
        await exchange.send(chunk({"content": "One "}))
        while True:  # until a write fails: it is left
            await exchange.send(": ping\n\n")
            await asyncio.sleep(0.02)
    await exchange.send(says(f"{len(messages)} ", "messages") if messages else DONE)
    await exchange.end()


class Desk:
    """Two edges, and what is asked of them."""

    def __init__(self, line: RealLine, session: aiohttp.ClientSession, target: FakeUpstream) -> None:
        self.line = line
        self.target = target
        self._session = session

    def url(self, edge: int, path: str = PATH) -> str:
        return self.line.edges[edge].url + path

    async def ask(self, path: str = "", *, method: str = "POST", edge: int = 0, key: str = "desk", **body: Any) -> Told:
        told = {"model": "upstream", **body} if method == "POST" and not path else None
        headers = {"Authorization": f"Bearer {KEYS[key]}"}
        url = self.url(edge, PATH + path)
        async with self._session.request(method, url, headers=headers, json=told) as said:
            return Told(said.status, await said.json(), said.headers)

    async def get(self, path: str, *, edge: int = 0, key: str = "desk") -> Told:
        return await self.ask(f"/{path}", method="GET", edge=edge, key=key)

    @asynccontextmanager
    async def hearing(self, text: str = SLOWLY, *, path: str = PATH, **body: Any) -> AsyncIterator["Hearing"]:
        """A stream of the first edge, up to its first word."""
        told = {"model": "upstream", "input": text, "stream": True, **body}
        headers = {"Authorization": f"Bearer {KEYS['desk']}"}
        async with self._session.post(self.url(0, path), json=told, headers=headers) as said:
            heard = Hearing(said)
            await heard.up_to("delta")
            yield heard

    def seen(self) -> list[tuple[str, Any]]:
        """What the upstream was told last."""
        return [(message["role"], message["content"]) for message in self.target.seen[-1].json["messages"]]


class Hearing:
    """Events of a stream as they come."""

    def __init__(self, said: aiohttp.ClientResponse) -> None:
        self._said = said
        self.events: list[dict[str, Any]] = []

    @property
    def id(self) -> str:
        return str(self.events[0]["response"]["id"])

    async def up_to(self, kind: str) -> dict[str, Any]:
        """The next event whose type ends so."""
        async for line in self._said.content:
            if line.startswith(b"data: {"):
                self.events.append(json.loads(line[6:]))
                if self.events[-1]["type"].endswith(kind):
                    return self.events[-1]
        raise AssertionError(f"no {kind} in {self.events}")

    async def rest(self) -> str:
        return (await self._said.read()).decode()

    def hang_up(self) -> None:
        self._said.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    directory: Path = tmp_path_factory.mktemp("responses")
    async with upstream(answer) as target, aiohttp.ClientSession() as session:
        env = {
            "TRUNKLINE_API_KEYS": ",".join(f"{name}:{secret}" for name, secret in KEYS.items()),
            "TRUNKLINE_UPSTREAM__URL": target.url,
            "TRUNKLINE_UPSTREAM__MODEL": "m",
            "TRUNKLINE_RESPONSES__MAX_RESPONSE_BYTES": str(MAX_BYTES),
            "TRUNKLINE_RESPONSES__MAX_AGE_S": "7200",
            "TRUNKLINE_EDGE__CORS_ORIGINS": ORIGIN,
            "TRUNKLINE_TELEMETRY__TRACES_FILE": str(directory / "traces.jsonl"),
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with real_line(directory, env=env) as line:
            for kind in ("edge", "edge", "worker"):
                line.add(kind)
            await line.ready()
            yield Desk(line, session, target)


async def test_a_conversation_goes_on_at_another_edge_with_all_of_it(desk: Desk) -> None:
    first = await desk.ask(input="one", instructions="Be short.")
    second = await desk.ask(edge=1, input="two", previous_response_id=first.body["id"])
    third = await desk.ask(edge=0, input="three", previous_response_id=second.body["id"], instructions="Be kind.")

    assert [said.text for said in (first, second, third)] == ["2 messages", "3 messages", "6 messages"]
    assert third.body["previous_response_id"] == second.body["id"]
    assert desk.seen() == [
        ("system", "Be kind."),
        *[("user", "one"), ("assistant", "2 messages"), ("user", "two"), ("assistant", "3 messages")],
        ("user", "three"),
    ]


async def test_a_conversation_may_branch(desk: Desk) -> None:
    first = await desk.ask(input="one")

    for text in ("left", "right"):
        await desk.ask(edge=1, input=text, previous_response_id=first.body["id"])

        assert desk.seen() == [("user", "one"), ("assistant", "1 messages"), ("user", text)]


async def test_a_stored_response_is_read_as_it_was_said(desk: Desk) -> None:
    said = await desk.ask(input="one", metadata={"a": "b"})

    for edge in (0, 1):
        assert (await desk.get(said.body["id"], edge=edge)).body == said.body


async def test_items_may_be_named_where_they_are_stored(desk: Desk) -> None:
    """As the AI SDK does, without `previous_response_id`."""
    first = await desk.ask(input=[{"role": "user", "content": "one", "id": "msg_mine"}])
    second = await desk.ask(input="two", previous_response_id=first.body["id"])
    named = [{"type": "item_reference", "id": said.body["output"][0]["id"]} for said in (first, second)]

    said = await desk.ask(edge=1, input=[named[0], {"role": "user", "content": "x"}, named[1]])
    foreign = await desk.ask(key="other", input=[named[1], {"role": "user", "content": "x"}])
    unknown = await desk.ask(input=[named[0], {"type": "item_reference", "id": "msg_0_0"}])

    assert said.status == 200
    assert desk.seen()[:3] == [("assistant", "1 messages"), ("user", "x"), ("assistant", "3 messages")]
    assert (foreign.error, foreign.body["error"]["param"]) == ((400, "invalid_value"), "input[0].id")
    assert (unknown.error, unknown.body["error"]["param"]) == ((400, "invalid_value"), "input[1].id")


async def test_with_store_false_nothing_is_kept(desk: Desk) -> None:
    said = await desk.ask(input="one", store=False)

    assert (said.status, said.body["store"]) == (200, False)
    assert (await desk.get(said.body["id"])).error == (404, None)
    assert (await desk.ask(input="two", previous_response_id=said.body["id"])).error[1] == "previous_response_not_found"


async def test_another_key_s_id_is_not_found_whatever_is_asked_of_it(desk: Desk) -> None:
    said = await desk.ask(input="one")
    id_ = said.body["id"]

    foreign = [
        await desk.get(id_, key="other"),
        await desk.get(f"{id_}/input_items", key="other"),
        await desk.ask(f"/{id_}/cancel", key="other"),
        await desk.ask(f"/{id_}", method="DELETE", key="other"),
    ]
    going_on = await desk.ask(key="other", input="two", previous_response_id=id_)

    assert [told.error for told in foreign] == [(404, None)] * 4
    assert (going_on.error, going_on.body["error"]["param"]) == (
        (400, "previous_response_not_found"),
        "previous_response_id",
    )
    assert (await desk.get(id_)).body == said.body


async def test_a_response_that_was_deleted_is_gone_and_what_went_on_from_it_is_not(desk: Desk) -> None:
    first = await desk.ask(input="one")
    second = await desk.ask(input="two", previous_response_id=first.body["id"])

    deleted = await desk.ask(f"/{first.body['id']}", method="DELETE", edge=1)

    assert deleted.body == {"id": first.body["id"], "object": "response", "deleted": True}
    for gone in (
        await desk.get(first.body["id"]),
        await desk.ask(f"/{first.body['id']}", method="DELETE"),
        await desk.ask(f"/{first.body['id']}/cancel"),
    ):
        assert gone.error == (404, None)
    await desk.ask(input="three", previous_response_id=second.body["id"])
    assert [text for _, text in desk.seen()] == ["one", "1 messages", "two", "3 messages", "three"]


async def test_what_led_to_a_response_is_listed_page_by_page(desk: Desk) -> None:
    first = await desk.ask(input=[{"role": "user", "content": f"{at}"} for at in range(3)])
    second = await desk.ask(input="three", previous_response_id=first.body["id"])
    path = f"{second.body['id']}/input_items"

    newest = await desk.get(f"{path}?limit=2", edge=1)
    older = await desk.get(f"{path}?limit=100&after={newest.body['last_id']}")
    wrong = await desk.get(f"{path}?limit=0")

    texts = [item["content"][0]["text"] for item in newest.body["data"] + older.body["data"]]
    assert texts == ["three", "3 messages", "2", "1", "0"]
    assert (newest.body["has_more"], older.body["has_more"]) == (True, False)
    assert newest.body["data"][1]["id"] == first.body["output"][0]["id"]
    assert (wrong.error, wrong.body["error"]["param"]) == ((400, "integer_below_min_value"), "limit")


@pytest.mark.parametrize("query", ["stream=true", "starting_after=3"])
async def test_a_response_is_streamed_once(desk: Desk, query: str) -> None:
    said = await desk.ask(input="one")

    refused = await desk.get(f"{said.body['id']}?{query}&include=x")

    assert (refused.error, refused.body["error"]["param"]) == ((400, "unsupported_parameter"), query.partition("=")[0])
    assert (await desk.get(f"{said.body['id']}?stream=false&include=x")).status == 200


async def test_one_that_is_too_large_is_said_whole_and_not_to_be_stored(desk: Desk) -> None:
    async with desk.hearing("x" * MAX_BYTES) as heard:
        last = await heard.up_to("completed")

    assert (last["response"]["store"], last["response"]["output"][0]["content"][0]["text"]) == (False, "1 messages")
    assert (await desk.get(heard.id)).error == (404, None)
    assert 'trunkline_responses_kept_total{outcome="too_large"} 1.0' in await desk.line.edges[0].metrics()


async def test_the_bucket_has_the_limits_that_are_set(desk: Desk) -> None:
    client = await nats.connect(desk.line.nats.url)
    try:
        config = (await client.jetstream().stream_info(SUBJECTS.responses_stream)).config
    finally:
        await client.close()

    wanted = responses_config(SUBJECTS, ResponseLimits(7200, 1 << 30))
    assert (config.max_age, config.max_bytes) == (7200, wanted["max_bytes"])
    assert (config.storage, config.max_msgs_per_subject) == ("file", 1)


# --- cancelling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [0, 1])
@pytest.mark.parametrize("path", [PATH, "/p/elevenlabs/v1/responses"])
async def test_a_response_is_cancelled_from_any_edge_and_its_upstream_left(desk: Desk, edge: int, path: str) -> None:
    async with desk.hearing(path=path) as heard:
        exchange = desk.target.seen[-1]

        said = await desk.ask(f"/{heard.id}/cancel", edge=edge)

        last = await heard.up_to("response.failed")
        assert await heard.rest() == "\ndata: [DONE]\n\n"

    assert said.status == 200
    for response in (said.body, last["response"]):
        assert (response["id"], response["status"], response["store"]) == (heard.id, "cancelled", True)
        assert response["output"][0]["content"][0]["text"] == "One ", "no sentence of ours"
    async with asyncio.timeout(SETTLE_S):
        await exchange.gone.wait()
    await desk.line.idle()
    assert (await desk.get(heard.id, edge=1)).body == last["response"]
    assert (await desk.ask(f"/{heard.id}/cancel", edge=1)).body == last["response"], "again, and nothing changes"
    await desk.ask(input="go on", previous_response_id=heard.id)
    assert desk.seen() == [("user", SLOWLY), ("assistant", "One "), ("user", "go on")]


async def test_a_cancelled_response_that_is_not_to_be_stored_is_not(desk: Desk) -> None:
    async with desk.hearing(store=False) as heard:
        foreign = await desk.ask(f"/{heard.id}/cancel", edge=1, key="other")
        said = await desk.ask(f"/{heard.id}/cancel", edge=1)
        last = await heard.up_to("response.failed")

    assert foreign.error == (404, None), "nor is it another key's to cancel"
    assert (said.body["status"], said.body["store"], last["response"]["store"]) == ("cancelled", False, False)
    assert (await desk.get(heard.id)).error == (404, None)


async def test_one_that_has_ended_is_shown_and_one_that_never_was_is_not_found(desk: Desk) -> None:
    said = await desk.ask(input="one")

    assert (await desk.ask(f"/{said.body['id']}/cancel", edge=1)).body == said.body
    for id_ in ("resp_00", "turn_00", "resp_", KEYS["desk"]):
        unknown = await desk.ask(f"/{id_}/cancel", edge=1)
        assert unknown.error == (404, None)
        assert KEYS["desk"] not in unknown.body["error"]["message"]


async def test_a_chat_is_no_response_that_could_be_cancelled(desk: Desk) -> None:
    chat = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "a b"}]}
    headers = {"Authorization": f"Bearer {KEYS['desk']}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(
            desk.url(0, "/v1/chat/completions"), json={**chat, "metadata": {"echo.rate": "4", "echo.tokens": "3"}}
        ) as answer,
    ):
        id_ = answer.headers["x-request-id"].replace("turn_", "resp_")

        assert (await desk.ask(f"/{id_}/cancel")).error == (404, None)

        assert (await answer.text()).endswith("data: [DONE]\n\n")


async def test_a_hang_up_leaves_no_slot_taken_and_nothing_stored(desk: Desk) -> None:
    async with desk.hearing() as heard:
        heard.hang_up()

    await desk.line.idle()
    assert (await desk.get(heard.id)).error == (404, None)


# --- what is around it -----------------------------------------------------------------------------


async def test_a_turn_is_written_down_as_any_other(desk: Desk) -> None:
    said = await desk.ask(input="one", metadata={"call_id": "call-1"})
    trace = said.headers["x-trace-id"]

    records = await until(desk.line.records, lambda found: trace in found, SETTLE_S)

    record = records[trace]
    assert (record.id, record.tenant, record.call_id) == (said.headers["x-request-id"], "desk", "call-1")
    assert (record.outcome, record.model, record.target) == ("completed", "upstream", "upstream")
    assert said.body["id"] == record.id.replace("turn_", "resp_")

    async def spans() -> set[str]:
        lines = (desk.line.directory / "traces.jsonl").read_text().splitlines()
        return {name for line in lines if trace in line for name in re.findall(r'"name":"([^"]+)"', line)}

    wanted = {"POST /v1/responses", "admit", "wait first_content", "stream", "chat upstream"}
    assert wanted <= await until(spans, lambda found: wanted <= found, SETTLE_S)


async def test_a_web_page_may_delete_where_it_may_ask(desk: Desk) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "DELETE"}
    async with (
        aiohttp.ClientSession() as session,
        session.options(desk.url(0, f"{PATH}/resp_0"), headers=headers) as said,
    ):
        assert said.status == 204
        assert "DELETE" in said.headers["Access-Control-Allow-Methods"]


async def test_a_web_socket_is_refused_in_words_that_help(desk: Desk) -> None:
    async with aiohttp.ClientSession() as session:
        for path in (PATH, f"/t/{KEYS['desk']}/v1?model=upstream"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
                await session.ws_connect(desk.url(0, path))
            assert raised.value.status == 400

    assert desk.line.logs().count("use_websocket=False") == 2
    assert KEYS["desk"] not in desk.line.logs()


async def test_a_reload_changes_nothing_in_what_is_stored(desk: Desk) -> None:
    said = await desk.ask(input="one")
    for edge in desk.line.edges:
        edge.process.send(signal.SIGHUP)
    await until(desk.line.edges[0].metrics, lambda text: 'outcome="unchanged"} 1.0' in text, SETTLE_S)

    await desk.ask(input="two", previous_response_id=said.body["id"])

    assert desk.seen() == [("user", "one"), ("assistant", "1 messages"), ("user", "two")]


# --- when the store is away ------------------------------------------------------------------------


async def test_a_bucket_that_was_removed_is_there_again_for_the_next_response(desk: Desk) -> None:
    before = await desk.ask(input="one")
    client = await nats.connect(desk.line.nats.url)
    try:
        await client.jetstream().delete_stream(SUBJECTS.responses_stream)
    finally:
        await client.close()

    after = await desk.ask(edge=1, input="one")

    assert after.body["store"] is True
    assert (await desk.get(after.body["id"])).body == after.body
    assert (await desk.get(before.body["id"])).error == (404, None)


async def test_while_it_does_not_answer_only_who_needs_it_is_refused(desk: Desk) -> None:
    """A stream in its place takes what is written, and says nothing."""
    before = await desk.ask(input="one")
    client = await nats.connect(desk.line.nats.url)
    try:
        jetstream = client.jetstream()
        await jetstream.delete_stream(SUBJECTS.responses_stream)
        await jetstream.add_stream(name="silent", subjects=[f"$KV.{SUBJECTS.responses}.>"], no_ack=True)

        refused = await desk.ask(input="two", previous_response_id=before.body["id"])
        said = [await desk.ask(input="two") for _ in range(2)]

        assert refused.error == (503, "store_away")
        assert (refused.headers["x-should-retry"], refused.headers["Retry-After"]) == ("true", "1")
        assert (await desk.get(before.body["id"])).error == (503, "store_away")
        assert [(told.text, told.body["store"]) for told in said] == [("1 messages", False)] * 2
        await jetstream.delete_stream("silent")
    finally:
        await client.close()

    async def again() -> bool:
        return bool((await desk.ask(input="one")).body["store"])

    assert await until(again, bool, SETTLE_S)


async def test_after_all_processes_were_killed_a_conversation_goes_on(desk: Desk) -> None:
    first = await desk.ask(input="one")
    for member in [*desk.line.edges, *desk.line.workers]:
        member.process.send(signal.SIGKILL)
    desk.line.nats.kill()
    desk.line.edges.clear()
    desk.line.workers.clear()

    await asyncio.to_thread(desk.line.nats.start)
    desk.line.add("edge")
    desk.line.add("worker")
    await desk.line.ready()

    await desk.ask(input="two", previous_response_id=first.body["id"])
    assert desk.seen() == [("user", "one"), ("assistant", "1 messages"), ("user", "two")]
    assert (await desk.get(first.body["id"])).body == first.body
