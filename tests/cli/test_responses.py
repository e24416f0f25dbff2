"""`trunkline responses` on a real NATS: what it finds, how it prints it, what it removes."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson
import pytest

from bench.processes import OURS
from protocol.settings import parse
from protocol.streams import JobLimits, ResponseLimits, Streams
from tests.broker.nats_server import NatsServer
from tests.cli.conftest import Terminal
from tests.cli.test_calls import END_S, printed
from tests.cli.test_responses_parts import record
from trunkline.__main__ import main
from trunkline.listen import Listener, listen

LIMITS = ResponseLimits(max_age_s=3600, max_bytes=1 << 26)


class Kept:
    """The bucket of a line, under a prefix of its own."""

    def __init__(self, listener: Listener, environ: dict[str, str]) -> None:
        self._listener = listener
        self._subjects = listener.subjects
        self.environ = environ

    async def make(self) -> None:
        async def request(subject: str, data: bytes, timeout_s: float) -> bytes:
            return await self._listener._wire.request(subject, data, timeout_s=timeout_s)

        await Streams(request, self._subjects, JobLimits()).responses(LIMITS)

    async def remove(self) -> None:
        await self._listener.ask(f"STREAM.DELETE.{self._subjects.responses_stream}")

    async def keep(self, *names: str, tenant: str = "desk") -> None:
        for name in names:
            data = msgspec.json.encode(record(name))
            await self._listener._wire.request(self._subjects.response(tenant, name), data, timeout_s=END_S)

    async def ids(self, tenant: str) -> int:
        """How many a tenant has."""
        told = {"subjects_filter": self._subjects.responses_of(tenant)}
        said = await self._listener.ask(f"STREAM.INFO.{self._subjects.responses_stream}", told)
        return len(said["state"].get("subjects") or ())


@pytest.fixture
async def kept(nats_server: NatsServer) -> AsyncIterator[Kept]:
    environ = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": f"responses-{secrets.token_hex(4)}"}
    async with listen(parse(None, environ)) as listener:
        bucket = Kept(listener, environ)
        await bucket.make()
        yield bucket
        await bucket.remove()


class Typed(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Awaitable[Typed]]:
    """Types `trunkline responses …` in a thread of this process: one of its own takes longer than what it does."""

    async def call(words: str, environ: dict[str, str]) -> Typed:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["trunkline", "responses", *words.split()])
        code = await asyncio.to_thread(main)
        return Typed(code, *capsys.readouterr())

    return call


async def test_responses_are_listed_newest_first_bounded_and_by_key(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(*(f"resp_{number}" for number in range(1, 31)))
    await kept.keep("resp_theirs", tenant="other")

    runs = [terminal.start(f"responses ls {more}", **kept.environ) for more in ("-n 2", "--json --tenant desk -n 25")]
    (code, out, err), (_, said, _) = [await printed(run) for run in runs]

    heading, first, second = out.splitlines()
    assert (code, err) == (0, "")
    assert " ".join(heading.split()) == "stored response tenant model status items size goes on from"
    assert first.split()[1:6] == ["resp_theirs", "other", "echo", "completed", "2"]
    assert second.split()[1:3] == ["resp_30", "desk"]
    assert [orjson.loads(line)["id"] for line in said.splitlines()] == [f"resp_{n}" for n in range(30, 5, -1)]


async def test_a_response_is_shown_with_all_that_led_to_it_or_as_it_is_stored(
    kept: Kept, typed: Callable[..., Awaitable[Typed]]
) -> None:
    await kept.keep("resp_1", "resp_2")

    (code, out, err), (_, said, _) = [await typed(f"show resp_1 {more}", kept.environ) for more in ("", "--json")]

    assert (code, err, out.splitlines()[0]) == (0, "", "response resp_1: tenant desk, model echo, completed")
    assert out.splitlines()[-1].split() == ["assistant", "It", "is", "21", "degrees."]
    assert said.encode() == msgspec.json.encode(record("resp_1")) + b"\n"


async def test_what_is_removed_is_gone_and_the_rest_stays(kept: Kept, typed: Callable[..., Awaitable[Typed]]) -> None:
    await kept.keep("resp_1", "resp_2", "resp_3")

    code, out, err = await typed("rm resp_1 resp_9 resp_3", kept.environ)
    gone, _, why = await typed("show resp_1", kept.environ)

    assert (code, out) == (2, "removed resp_1\nremoved resp_3\n")
    assert err == "trunkline: no response 'resp_9' is stored; `trunkline responses ls` lists those that there are\n"
    assert (gone, why) == (2, err.replace("resp_9", "resp_1"))
    assert await kept.ids("desk") == 1


async def test_one_id_under_two_keys_is_two_responses(kept: Kept, typed: Callable[..., Awaitable[Typed]]) -> None:
    await kept.keep("resp_1")
    await kept.keep("resp_1", tenant="other")

    words = ("show resp_1", "rm resp_1", "show resp_1 --tenant third", "rm resp_1 --tenant other")
    (code, out, err), removed, third, chosen = [await typed(more, kept.environ) for more in words]

    said = "these are 2 responses, of as many keys, with the id 'resp_1'; add --tenant desk or --tenant other"
    assert (code, out, err) == removed == (2, "", f"trunkline: {said}\n")
    assert third[0] == 2
    assert chosen == (0, "removed resp_1\n", "")
    assert (await kept.ids("desk"), await kept.ids("other")) == (1, 0)


async def test_all_of_one_key_or_of_an_age_are_removed(kept: Kept, typed: Callable[..., Awaitable[Typed]]) -> None:
    await kept.keep("resp_1", "resp_2", "resp_3")
    await kept.keep("resp_4", tenant="other")

    words = ("--older-than 1h", "--tenant other --all", "--older-than 0s", "--older-than 0s")
    answers = [await typed(f"rm {more}", kept.environ) for more in words]

    assert [out for _, out, _ in answers] == [
        "removed 0 records\n",
        "removed 1 record of tenant other\n",
        "removed 3 records\n",
        "removed 0 records\n",
    ]


async def test_an_age_bounds_what_is_removed(kept: Kept, typed: Callable[..., Awaitable[Typed]]) -> None:
    """By the server's clock, which has stamped the records."""
    await kept.keep("resp_1", "resp_2")
    await asyncio.sleep(1.2)
    code, out, _ = await typed("rm --older-than 1s", kept.environ)
    await kept.keep("resp_3")

    _, younger, _ = await typed("rm --older-than 1h", kept.environ)

    assert (code, out) == (0, "removed 2 records\n")
    assert (younger, await kept.ids("desk")) == ("removed 0 records\n", 1)


async def test_without_any_the_list_says_so(kept: Kept, typed: Callable[..., Awaitable[Typed]]) -> None:
    assert await typed("ls", kept.environ) == (0, "", "no response is stored\n")


async def test_a_nats_without_the_bucket_or_none_at_all_is_one_sentence(
    nats_server: NatsServer, typed: Callable[..., Awaitable[Typed]]
) -> None:
    bare = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": f"none-{secrets.token_hex(4)}"}
    nowhere = {"TRUNKLINE_NATS__URL": "nats://127.0.0.1:1"}
    words = ("ls", "show resp_1", "rm resp_1", "rm --tenant desk --all", "rm --older-than 1h")

    without = [await typed(word, bare) for word in words]
    away = await typed("ls", nowhere)

    for code, out, err in without:
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert "this NATS keeps no responses" in err
    assert (away[0], away[1], away[2].count("\n")) == (3, "", 1)
