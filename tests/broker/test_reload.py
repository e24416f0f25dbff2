"""SIGHUP with real processes: new turns use the new configuration, live ones keep what they began with."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from bench.client import Call
from bench.polling import until
from protocol.codec import decode_here
from protocol.messages import Here
from protocol.settings import parse
from protocol.subjects import Subjects
from protocol.wire import Arrived
from tests.broker.line_fixture import SETTLE_S, Member, RealLine, real_line
from tests.workers.fake_upstream import DONE, Exchange, FakeUpstream, chunk, says, upstream
from workers.bus import connect

RELOADS = "trunkline_config_reloads_total"
CHAT = "/v1/chat/completions"


class Slow:
    """An upstream that says one word and goes on when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(chunk({"content": "one "}))
        await self.go_on.wait()
        await exchange.send(chunk({"content": "two"}) + chunk(finish="stop") + DONE)
        await exchange.end()


async def quick(exchange: Exchange) -> None:
    """Another one, whose answer is short."""
    await exchange.begin()
    await exchange.send(says("new"))
    await exchange.end()


def model(name: str, target: FakeUpstream, more: str = "") -> str:
    """A model and its target, as the file says it."""
    told = f'[models.{name}]\ntargets = ["{name}"]\n[targets.{name}]\nbase_url = "{target.url}"\nmodel = "m"\n'
    return told + more


class Line:
    """An edge and a worker with one file, and what the worker says of itself."""

    def __init__(self, line: RealLine, file: Path, heres: list[Here]) -> None:
        self.line = line
        self.edge, self.worker = line.edges[0], line.workers[0]
        self.heres = heres
        self._file = file

    def write(self, text: str) -> None:
        self._file.write_text(text)

    async def reload(self, outcome: str, *members: Member) -> None:
        """SIGHUP to these, or to both; return when each says that this came of it."""
        for member in members or (self.edge, self.worker):
            before = await count(member, outcome)
            member.process.send(signal.SIGHUP)
            assert await until(lambda m=member: count(m, outcome), lambda n, b=before: n == b + 1, SETTLE_S)  # type: ignore[misc]
            assert await count(member, outcome) == before + 1

    async def ask(self, model: str) -> tuple[int, Any]:
        """Status and body of a turn that does not stream."""
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        async with aiohttp.ClientSession() as session, session.post(self.edge.url + CHAT, json=body) as answer:
            return answer.status, await answer.json()

    async def here(self, text: str) -> Here:
        """What the worker says, once that is of the configuration that `text` makes."""
        digest = parse(text, {}).digest()

        async def last() -> Here | None:
            return self.heres[-1] if self.heres else None

        here = await until(last, lambda here: here is not None and here.config == digest, SETTLE_S)
        assert here is not None
        assert here.config == digest
        return here


async def count(member: Member, outcome: str) -> int:
    """How often that came of a SIGHUP."""
    [line] = [one for one in (await member.metrics()).splitlines() if one.startswith(f'{RELOADS}{{outcome="{outcome}"')]
    return int(float(line.rpartition(" ")[2]))


@pytest_asyncio.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    file = tmp_path / "line.toml"
    file.write_text("")
    async with AsyncExitStack() as stack:
        env = {"TRUNKLINE_CONFIG": str(file), "TRUNKLINE_EDGE__DRAIN_S": "10", "TRUNKLINE_WORKER__DRAIN_S": "10"}
        started = await stack.enter_async_context(real_line(tmp_path, env=env))
        started.add("edge")
        started.add("worker", {"DESK_KEY": "k"})
        await started.ready()
        wire = await stack.enter_async_context(connect(started.nats.url, name="listener", wait_s=5))
        heres: list[Here] = []

        def hear(message: Arrived) -> None:
            heres.append(decode_here(message.data))

        await wire.subscribe(Subjects("trunkline").here("*"), hear)
        yield Line(started, file, heres)


async def test_a_live_stream_goes_on_to_its_end_while_a_new_turn_meets_the_new_target(line: Line) -> None:
    slow = Slow()
    async with upstream(slow) as old, upstream(quick) as new:
        line.write(model("desk", old))
        await line.reload("applied")
        live = await Call.place(
            line.edge.url + CHAT, {"model": "desk", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        )
        assert await live.heard()

        text = model("desk", new) + model("other", new) + "[builtin]\nenabled = false\n"
        line.write(text)
        await line.reload("applied")

        here = await line.here(text)
        assert set(here.models) == {"desk", "other"}
        for name in ("desk", "other"):
            status, body = await line.ask(name)
            assert (status, body["choices"][0]["message"]["content"]) == (200, "new"), body
        status, body = await line.ask("echo")
        assert (status, body["error"]["code"]) == (404, "model_not_found")
        assert live.answer.text == "one "
        slow.go_on.set()
        answer = await live.ended()

    assert (answer.text, answer.finish_reason, answer.done) == ("one two", "stop", True)
    assert len(old.seen) == 1


async def test_an_invalid_file_changes_nothing_but_a_line_of_log_and_a_number(line: Line) -> None:
    async with upstream(quick) as fake:
        good = model("desk", fake)
        line.write(good)
        await line.reload("applied")

        line.write(good + "[turn]\nbudget = 3\n")
        await line.reload("refused")

        status, _ = await line.ask("desk")
        assert status == 200
        assert "desk" in (await line.here(good)).models
    told = [
        text for text in line.line.logs().splitlines() if "[turn] has no key 'budget'; did you mean budget_s?" in text
    ]
    assert len(told) == 2, "one line of each process"


async def test_a_key_that_is_missing_refuses_the_whole_of_it_where_it_is_needed(line: Line) -> None:
    async with upstream(quick) as fake:
        line.write(model("desk", fake, 'api_key_env = "NO_SUCH_KEY"\n') + "[turn]\nbudget_s = 3.0\n")
        await line.reload("refused", line.worker)
        await line.reload("applied", line.edge)  # it has no use for keys

        assert "NO_SUCH_KEY, which is not set" in line.line.logs()
        status, body = await line.ask("echo")
        assert (status, body["choices"][0]["message"]["content"]) == (200, "hello")

        good = model("desk", fake, 'api_key_env = "DESK_KEY"\n') + "[turn]\nbudget_s = 3.0\n"
        line.write(good)
        await line.reload("applied")
        await line.here(good)
        assert (await line.ask("desk"))[0] == 200
    assert fake.seen[0].headers["authorization"] == "Bearer k"


async def test_what_needs_a_restart_is_named_and_the_rest_is_in_force(line: Line) -> None:
    async with upstream(quick) as fake:
        text = model("desk", fake)
        line.write(text + "[worker]\nslots = 1\n[edge]\nping_s = 1.0\n[jobs]\nmax_msgs = 5\n")
        await line.reload("applied")

        assert (await line.here(text)).slots == 256
        assert (await line.ask("desk"))[0] == 200
    words = "changed, but only after a restart"
    told = sorted(
        one.rpartition(f"{words}: ")[2].partition('"')[0] for one in line.line.logs().splitlines() if words in one
    )
    assert told == ["edge.ping_s, jobs.max_msgs", "worker.slots, jobs.max_msgs"]


async def test_a_file_that_says_the_same_is_unchanged(line: Line) -> None:
    line.write("# a remark\n[turn]\nbudget_s = 8.0\n")

    await line.reload("unchanged")

    assert (await line.ask("echo"))[0] == 200
