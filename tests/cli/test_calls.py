"""`trunkline calls` on a real NATS: what it finds, how it prints it, and what it says where there is nothing."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from msgspec import Raw

from bench.processes import Process
from protocol import codec
from protocol.messages import Heard, Hook, TurnRecord
from protocol.settings import parse
from protocol.streams import HookLimits, StreamError, hooks_config, turns_config
from tests.broker.nats_server import NatsServer
from tests.cli.conftest import StartConfigured, Terminal
from trunkline.listen import Listener, listen

END_S = 30.0
BODY = orjson.dumps(
    {
        "type": "post_call_transcription",
        "data": {
            "conversation_id": "conv_1",
            "metadata": {"call_duration_secs": 61, "cost": 320},
            "transcript": [{"role": "user", "message": "My card is 4111", "time_in_call_secs": 3}],
        },
    }
)


def turn(number: int, call: str = "conv_1", **more: Any) -> TurnRecord:
    given: dict[str, Any] = {
        "tenant": "desk", "model": "front-desk", "outcome": "completed", "profile": "elevenlabs", "ttft_ms": 100.0,
        "total_ms": 900.0, "started_at": datetime.now(UTC).isoformat(), "call_id": call, "trace_id": f"{number:032x}",
    }  # fmt: skip
    return TurnRecord(id=f"turn_{number}", **{**given, **more})


class Kept:
    """Both streams of a line, under a prefix of its own."""

    def __init__(self, listener: Listener, environ: dict[str, str]) -> None:
        self._listener = listener
        self._subjects = listener.subjects
        self.environ = environ

    async def make(self) -> None:
        await self._listener.ask(f"STREAM.CREATE.{self._subjects.turns}", turns_config(self._subjects))
        hooks = hooks_config(self._subjects, HookLimits(86_400, 1 << 20, 1800))
        await self._listener.ask(f"STREAM.CREATE.{self._subjects.hooks}", hooks)

    async def remove(self) -> None:
        for stream in (self._subjects.turns, self._subjects.hooks):
            await self.remove_one(stream)

    async def remove_one(self, stream: str) -> None:
        with contextlib.suppress(StreamError):  # the test may have removed it
            await self._listener.ask(f"STREAM.DELETE.{stream}")

    async def keep(self, *kept: TurnRecord | Heard | Hook) -> None:
        for one in kept:
            subject, data = self._of(one)
            await self._listener._wire.request(subject, data, timeout_s=END_S)

    def _of(self, one: TurnRecord | Heard | Hook) -> tuple[str, bytes]:
        if isinstance(one, Hook):
            return self._subjects.hook(one.platform, one.conversation_id or ""), codec.encode_hook(one)
        where = self._subjects.heard(one.tenant, one.amends) if isinstance(one, Heard) else None
        return where or self._subjects.turn(one.tenant), codec.encode_record(one)


@pytest.fixture
async def kept(nats_server: NatsServer) -> AsyncIterator[Kept]:
    environ = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": f"calls-{secrets.token_hex(4)}"}
    async with listen(parse(None, environ)) as listener:
        kept = Kept(listener, environ)
        await kept.make()
        yield kept
        await kept.remove()


async def printed(process: Process) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that ends by itself."""
    code = await process.exited(END_S)
    return code, process.out.read_text(), process.log.read_text()


def webhook(**more: Any) -> Hook:
    given: dict[str, Any] = {"type": "post_call_transcription", "conversation_id": "conv_1", "trace_id": "f" * 32}
    at = datetime.now(UTC).isoformat()
    return Hook(platform="elevenlabs", received_at=at, body=Raw(BODY), **{**given, **more})


HEARD = Heard(
    amends="turn_2", by="turn_3", tenant="desk", call_id="conv_1",
    said_chars=40, heard_chars=12, said_words=8, heard_words=3,
)  # fmt: skip


async def test_calls_are_listed_with_what_became_of_their_turns(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(turn(1, cost=0.25), turn(2, outcome="interrupted"), turn(3, "conv_2"))

    code, out, err = await printed(terminal.start("calls ls", **kept.environ))

    heading, first, second = out.splitlines()
    assert (code, err) == (0, "")
    assert " ".join(heading.split()) == "last first call tenant profile turns interrupted cost outcomes"
    assert " ".join(first.split()[2:]) == "conv_1 desk elevenlabs 2 1 0.2500 1 completed, 1 interrupted"
    assert " ".join(second.split()[2:]) == "conv_2 desk elevenlabs 1 0 - 1 completed"


async def test_a_list_is_bounded_filtered_and_json_where_that_is_asked_for(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(*(turn(number, f"conv_{number}") for number in range(1, 30)), turn(30, "theirs", tenant="other"))

    runs = [terminal.start(f"calls ls --json {more}", **kept.environ) for more in ("", "-n 2", "--tenant other")]
    default, two, theirs = [
        [orjson.loads(line)["call_id"] for line in (await printed(run))[1].splitlines()] for run in runs
    ]
    _, since, _ = await printed(terminal.start("calls ls --since 1h -n 100 --json", **kept.environ))

    assert default == [*(f"conv_{number}" for number in range(11, 30)), "theirs"]
    assert (two, theirs, len(since.splitlines())) == (["conv_29", "theirs"], ["theirs"], 30)


async def test_a_call_is_shown_with_its_turns_what_was_heard_and_what_came_after(
    kept: Kept, terminal: Terminal
) -> None:
    cut = turn(2, outcome="completed", spoken_by_edge=("One moment... ",))
    await kept.keep(turn(1), cut, turn(3), turn(4, "conv_2"), HEARD, webhook(), webhook(conversation_id="conv_2"))

    code, out, err = await printed(terminal.start("calls show conv_1", **kept.environ))

    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "call conv_1: tenant desk, profile elevenlabs, model front-desk"
    assert lines[1].startswith("3 turns: 3 completed; first content p50 100 ms")
    assert [line.split()[-2:] for line in lines if line.endswith(("1", "2", "3")) and "turn_" in line] == [
        [f"turn_{number}", f"{number:032x}"] for number in (1, 2, 3)
    ]
    assert {"the edge spoke: 'One moment... '", "heard: 3 of 8 words that were sent"} < set(lines)
    assert lines[-1].endswith(f"lasted 61 s, cost there 320, bytes {len(BODY)}, trace {'f' * 32}")
    assert "4111" not in out
    assert out.count("webhook") == 1


async def test_what_was_said_is_shown_only_where_it_is_asked_for(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(turn(1), webhook())

    _, plain, _ = await printed(terminal.start("calls show conv_1 --json", **kept.environ))
    _, told, _ = await printed(terminal.start("calls show conv_1 --json --transcript", **kept.environ))

    assert "4111" not in plain
    (one,) = orjson.loads(told)["webhooks"]
    assert one["transcript"] == [{"role": "user", "message": "My card is 4111", "time_in_call_secs": 3.0}]
    assert orjson.loads(plain).keys() == {"call_id", "turns", "webhooks"}


async def test_a_call_that_never_reached_us_has_its_webhook_alone(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(webhook(type="call_initiation_failure"))

    code, out, _ = await printed(terminal.start("calls show conv_1", **kept.environ))

    assert (code, out.splitlines()[0]) == (0, "call conv_1")
    assert "webhook call_initiation_failure" in out


async def test_two_calls_of_two_keys_with_one_id_were_shown_as_one(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(turn(1), turn(2, tenant="other"), turn(3))

    runs = [terminal.start(f"calls show conv_1 {more}", **kept.environ) for more in ("", "--json", "--tenant other")]
    (code, out, err), (_, said, _), (chosen, one, _) = [await printed(run) for run in runs]

    assert (code, [line.split()[2:6] for line in out.splitlines()[1:]]) == (
        2,
        [["conv_1", "other", "elevenlabs", "1"], ["conv_1", "desk", "elevenlabs", "2"]],
    )
    assert err == ("trunkline: these are 2 calls, of as many keys, with one id; add --tenant other or --tenant desk\n")
    assert [orjson.loads(line)["tenant"] for line in said.splitlines()] == ["other", "desk"]
    assert (chosen, one.splitlines()[0][:26]) == (0, "call conv_1: tenant other,")


async def test_a_call_that_nobody_knows_is_said_to_be(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(turn(1))

    code, out, err = await printed(terminal.start("calls show conv_9", **kept.environ))

    assert (code, out) == (2, "")
    said = "no turn and no webhook of a call 'conv_9' is kept; `trunkline calls ls` lists those that there are"
    assert err == f"trunkline: {said}\n"


async def test_a_line_without_webhooks_shows_its_turns(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(turn(1))
    await kept.remove_one(kept._subjects.hooks)

    code, out, _ = await printed(terminal.start("calls show conv_1", **kept.environ))

    assert (code, "turn_1" in out) == (0, True)


async def test_where_no_turn_names_its_call_the_list_says_so(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(turn(1, call=""))

    assert await printed(terminal.start("calls ls", **kept.environ)) == (0, "", "no turn that names its call\n")


@pytest.mark.parametrize("command", ["ls", "show conv_1"])
async def test_a_nats_without_records_or_none_at_all_is_one_sentence(
    command: str, nats_server: NatsServer, terminal: Terminal
) -> None:
    bare = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": f"none-{secrets.token_hex(4)}"}
    nowhere = {"TRUNKLINE_NATS__URL": "nats://127.0.0.1:1"}

    without, away = await asyncio.gather(
        printed(terminal.start(f"calls {command}", **bare)), printed(terminal.start(f"calls {command}", **nowhere))
    )

    assert without[:2] == away[:2] == (3, "")
    assert "this NATS keeps no turn records" in without[2]
    assert "`trunkline up`" in away[2]
    assert without[2].count("\n") == away[2].count("\n") == 1


async def test_a_nats_without_jetstream_is_told_so(configured: StartConfigured, terminal: Terminal) -> None:
    server = await configured("host: 127.0.0.1\n")

    code, _, err = await printed(terminal.start("calls ls", TRUNKLINE_NATS__URL=server.url))

    assert (code, err.count("\n")) == (3, 1)
    assert "JetStream" in err
