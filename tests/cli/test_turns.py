"""`trunkline turns` on a real NATS: in pipes, on a terminal, with a line that runs and without one."""

import asyncio
import csv
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from bench.processes import Process
from protocol import codec
from protocol.messages import Attempt, Heard, TurnRecord, Usage
from protocol.settings import parse
from protocol.streams import turns_config
from tests.broker.nats_server import NatsServer
from tests.cli.conftest import StartConfigured, Terminal, until
from tests.cli.pseudo_terminal import CTRL_C
from tests.cli.talk_line import clean
from tests.cli.top_line import Callers, Screens, screens_in
from trunkline import run_file
from trunkline.listen import Listener, listen
from trunkline.turns import forms

END_S = 30.0
TURNS = [sys.executable, "-m", "trunkline", "turns"]
TRIED = (Attempt("gpt", "rate_limit_exceeded"), Attempt("claude", "answered", usage=Usage(100, 20), cost=0.0123))


def record(number: int, **more: Any) -> TurnRecord:
    told: dict[str, Any] = {
        "tenant": "acme", "model": "front-desk", "outcome": "completed", "target": "gpt", "ttft_ms": 100.0 + number,
        "total_ms": 1000.0, "started_at": datetime.now(UTC).isoformat(), "usage": Usage(100, 20), "trace_id": "a" * 32,
    }  # fmt: skip
    return TurnRecord(id=f"turn_{number}", **{**told, **more})


class Kept:
    """A stream of turn records, under a prefix of its own."""

    def __init__(self, listener: Listener, environ: dict[str, str]) -> None:
        self._listener = listener
        self.environ = environ

    async def make(self) -> None:
        """An empty one."""
        subjects = self._listener.subjects
        await self._listener.ask(f"STREAM.CREATE.{subjects.turns}", turns_config(subjects))

    async def remove(self) -> None:
        await self._listener.ask(f"STREAM.DELETE.{self._listener.subjects.turns}")

    async def keep(self, *records: TurnRecord | Heard) -> None:
        """Until the stream has them."""
        stream, subjects = self._listener.subjects.turns, self._listener.subjects
        before = await self._listener.stream(stream)
        assert before is not None
        for one in records:
            subject = subjects.turn(one.tenant)
            if isinstance(one, Heard):
                subject = subjects.heard(one.tenant, one.amends)
            self._listener._wire.publish(subject, codec.encode_record(one))
        async with asyncio.timeout(END_S):
            while True:
                now = await self._listener.stream(stream)
                if now is not None and now.state.last_seq == before.state.last_seq + len(records):
                    return
                await asyncio.sleep(0.01)


@pytest.fixture
async def kept(nats_server: NatsServer) -> AsyncIterator[Kept]:
    environ = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": f"turns-{secrets.token_hex(4)}"}
    async with listen(parse(None, environ)) as listener:
        kept = Kept(listener, environ)
        await kept.make()
        yield kept
        await kept.remove()


@pytest.fixture
def screens(terminal: Terminal) -> Iterator[Screens]:
    with screens_in(terminal.directory) as screens:
        yield screens


async def printed(process: Process) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that ends by itself."""
    code = await process.exited(END_S)
    return code, process.out.read_text(), process.log.read_text()


async def ids(kept: Kept, terminal: Terminal, options: str) -> list[str]:
    """What the command finds with these options."""
    code, out, err = await printed(terminal.start(f"turns --json {options}", **kept.environ))
    assert (code, err) == (0, "")
    return [orjson.loads(line)["id"] for line in out.splitlines()]


async def test_the_newest_are_listed_oldest_first(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(*(record(number) for number in range(1, 151)))

    default, three, all_ = await asyncio.gather(
        ids(kept, terminal, ""), ids(kept, terminal, "-n 3"), ids(kept, terminal, "--since 1h")
    )

    assert default == [f"turn_{number}" for number in range(131, 151)]
    assert three == ["turn_148", "turn_149", "turn_150"]
    assert all_ == [f"turn_{number}" for number in range(1, 151)]


async def test_filters_look_at_the_whole_stream(kept: Kept, terminal: Terminal) -> None:
    """The one that is wanted may be the oldest."""
    failed = record(1, outcome="upstream_error", error="upstream_error", call_id="call-7", attempts=TRIED)
    await kept.keep(failed, *(record(number) for number in range(2, 151)))
    options = (
        "--errors",
        "--outcome upstream_error --outcome shed",
        "--call call-7",
        "--target claude",
        "--since 1h --errors",
    )

    found = await asyncio.gather(*(ids(kept, terminal, option) for option in options))

    assert found == [["turn_1"]] * len(options)
    assert await ids(kept, terminal, "--slower-than 248.5ms") == ["turn_149", "turn_150"]


async def test_since_leaves_out_what_was_kept_before(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(*(record(number) for number in range(1, 101)))
    await asyncio.sleep(0.01)
    between = datetime.now(UTC)
    await asyncio.sleep(0.01)
    await kept.keep(*(record(number) for number in range(101, 201)))
    since = f"--since {between.isoformat()}"

    assert await ids(kept, terminal, since) == [f"turn_{number}" for number in range(101, 201)]
    assert await ids(kept, terminal, f"{since} -n 150") == [f"turn_{number}" for number in range(101, 201)]
    assert await ids(kept, terminal, f"{since} -n 2") == ["turn_199", "turn_200"]


async def test_a_pipe_gets_whole_lines_without_colour(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(record(1, target="claude", attempts=TRIED, cost=0.0123, model="m" * 40), record(2, outcome="shed"))

    code, out, err = await printed(terminal.start("turns --summary", **kept.environ))

    heading, first, second, total = out.splitlines()
    assert (code, err) == (0, "")
    assert re.split(" +", heading) == [column.name for column in forms.COLUMNS]
    assert first.split()[1:] == [
        "completed",
        "101",
        "ms",
        "1000",
        "ms",
        "m" * 40,
        "100+20",
        "claude",
        "(2)",
        "0.0123",
        "a" * 32,
        "openai",
    ]
    assert second.split()[1] == "shed"
    assert total == (
        "2 turns: 1 completed, 1 shed; first content p50 101 ms, p95 102 ms; tokens 200 in, 40 out; cost 0.0123"
    )


async def test_what_the_caller_has_heard_stands_beside_the_record(kept: Kept, terminal: Terminal) -> None:
    """Its amendment comes later, with other turns between them; it is no record of its own."""
    cut = record(1, outcome="interrupted", profile="vapi", call_id="call-1", unheard=7, unheard_cost=0.5)
    amendment = Heard(
        amends="turn_1",
        by="turn_3",
        tenant="acme",
        call_id="call-1",
        said_chars=90,
        heard_chars=40,
        said_words=31,
        heard_words=12,
    )
    await kept.keep(cut, record(2), record(3, profile="vapi", call_id="call-1"), amendment)

    code, table, _ = await printed(terminal.start("turns --since 1h --summary", **kept.environ))
    _, lines, _ = await printed(terminal.start("turns -n 3 --json", **kept.environ))

    first, *others = [orjson.loads(line) for line in lines.splitlines()]
    assert code == 0
    assert (first["heard"]["heard_words"], first["heard"]["said_words"], first["unheard"]) == (12, 31, 7)
    assert [one["id"] for one in others if "heard" not in one] == ["turn_2", "turn_3"]
    assert "12 of 31" in table.splitlines()[1]
    assert table.splitlines()[-1].endswith(
        "; 7 tokens for callers who had left (cost 0.5000); 12 of 31 words heard in 1 cut"
    )


async def test_a_spreadsheet_gets_a_heading_even_where_there_is_nothing(kept: Kept, terminal: Terminal) -> None:
    nothing = await printed(terminal.start("turns --csv", **kept.environ))
    await kept.keep(record(1, attempts=TRIED, cost=0.0123))

    code, out, err = await printed(terminal.start("turns --csv", **kept.environ))

    (row,) = csv.DictReader(out.splitlines())
    assert (code, err) == (0, "")
    assert (row["id"], row["tried"], row["cost"]) == ("turn_1", "gpt:rate_limit_exceeded claude:answered", "0.0123")
    assert nothing == (0, out.splitlines()[0] + "\n", "")


async def test_the_total_of_json_lines_is_a_line_too(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(record(1), record(2))

    _, out, _ = await printed(terminal.start("turns --json --summary", **kept.environ))

    lines = [orjson.loads(line) for line in out.splitlines()]
    assert [line.get("id") for line in lines] == ["turn_1", "turn_2", None]
    assert lines[-1]["summary"]["turns"] == 2
    assert lines[-1]["summary"]["completion_tokens"] == 40


async def test_where_nothing_matches_it_says_so_beside_the_output(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(record(1))

    assert await printed(terminal.start("turns --errors", **kept.environ)) == (0, "", "no turn matches\n")


async def test_it_follows_what_comes_even_after_the_stream_was_made_anew(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(record(1))
    process = terminal.start("turns --follow --json --summary", **kept.environ)
    await until(lambda: "turn_1" in process.out.read_text())

    await kept.keep(*(record(number) for number in range(2, 102)))
    await until(lambda: "turn_101" in process.out.read_text())
    await kept.remove()
    await kept.make()
    await kept.keep(record(200))
    await until(lambda: "turn_200" in process.out.read_text())
    process.send_group(signal.SIGINT)
    code, out, err = await printed(process)

    lines = [orjson.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [line["id"] for line in lines[:-1]] == [*(f"turn_{number}" for number in range(1, 102)), "turn_200"]
    assert lines[-1]["summary"]["turns"] == 102


@pytest.mark.parametrize(
    ("columns", "shown", "hidden"),
    [
        (40, ["outcome", "first", "upstream_error"], ["model", "trace"]),
        (80, ["total", "model", "tokens", "100+20"], ["target", "trace"]),
        (200, ["target", "claude (2)", "0.0123", "rate_limit_exceeded", "a" * 32], []),
    ],
)
async def test_a_terminal_of_any_width_gets_what_it_has_room_for(
    kept: Kept, screens: Screens, columns: int, shown: list[str], hidden: list[str]
) -> None:
    failed = record(2, outcome="upstream_error", error="rate_limit_exceeded")
    await kept.keep(record(1, target="claude", attempts=TRIED, cost=0.0123), failed)

    screen = screens.open(kept.environ, *TURNS, columns=columns)

    assert await screen.exit_code() == 0
    lines = screen.text.splitlines()
    assert [word for word in shown if word not in screen.text] == []
    assert [word for word in hidden if word in lines[0]] == []
    assert len([line for line in lines if line.strip()]) == 3  # no row is broken into two


async def test_on_a_terminal_it_follows_until_ctrl_c(kept: Kept, screens: Screens) -> None:
    screen = screens.open(kept.environ, *TURNS, "--follow", "--summary")
    await screen.shows("started outcome")
    await kept.keep(record(1, outcome="interrupted"))
    await screen.shows("interrupted")

    screen.terminal.type(CTRL_C)

    assert await screen.exit_code() == 0
    await screen.shows("1 turn: 1 interrupted")
    assert "Traceback" not in screen.typescript


async def test_a_reader_who_has_enough_ends_it_quietly(kept: Kept, terminal: Terminal) -> None:
    await kept.keep(*(record(number, model="m" * 500) for number in range(1, 1501)))

    piped = await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", "-c", f"{{ {' '.join(TURNS)} --json --since 1h; echo left $? >&2; }} | head -n 1"],
        cwd=terminal.directory, env=clean(**kept.environ), capture_output=True, text=True, timeout=END_S, check=False,
    )  # fmt: skip

    assert orjson.loads(piped.stdout)["id"] == "turn_1"
    assert piped.stderr == "left 0\n"


@pytest.mark.parametrize("options", ["--json", "--json --summary", ""])
async def test_who_follows_for_a_reader_who_has_enough_does_not_wait_for_one_more(
    kept: Kept, terminal: Terminal, options: str
) -> None:
    await kept.keep(record(1))

    piped = await asyncio.to_thread(
        subprocess.run,
        ["/bin/sh", "-c", f"{{ {' '.join(TURNS)} --follow {options}; echo left $? >&2; }} | head -n 1"],
        cwd=terminal.directory, env=clean(**kept.environ), capture_output=True, text=True, timeout=END_S, check=False,
    )  # fmt: skip

    assert ("turn_1" if options else "started") in piped.stdout
    assert piped.stderr == "left 0\n"


async def test_what_a_line_does_is_listed(terminal: Terminal, screens: Screens) -> None:
    """Whoever runs `up` here need not say where the line is."""
    up = terminal.start("up --json --ephemeral --port 0")
    said = await up.first_line()
    environ = {"TRUNKLINE_DATA_DIR": said["data_dir"]}
    callers = Callers(said["url"])
    screen = screens.open(environ, *TURNS, "--follow", "--summary", columns=200)
    await screen.shows("started outcome")

    answered = await (await callers.call("echo")).ended()
    failed = await (await callers.call(fail="before:503")).ended()

    await screen.shows(answered.headers["x-trace-id"], failed.headers["x-trace-id"], "upstream_error")
    screen.terminal.type(CTRL_C)
    assert await screen.exit_code() == 0
    await screen.shows("2 turns: 1 completed, 1 upstream_error")
    assert "business" not in screen.typescript


@pytest.mark.parametrize("options", ["", " --json", " --csv --since 1h", " --follow"])
async def test_without_a_line_it_says_how_to_get_one(terminal: Terminal, options: str) -> None:
    code, out, err = await printed(
        terminal.start(f"turns{options}", TRUNKLINE_NATS__URL="nats://user:secret@127.0.0.1:9")
    )

    assert (code, out) == (3, "")
    assert err.startswith("trunkline: no NATS server at 127.0.0.1:9 within 2 s")
    assert err.endswith(f"; {run_file.NO_LINE}\n")
    assert "secret" not in err


@pytest.mark.parametrize("options", ["", " --since 1h", " --follow"])
async def test_without_a_stream_it_says_how_to_get_one(
    terminal: Terminal, nats_server: NatsServer, options: str
) -> None:
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "nobody-was-here"}

    code, out, err = await printed(terminal.start(f"turns{options}", **where))

    assert (code, out) == (3, "")
    assert re.fullmatch(
        r"trunkline: this NATS keeps no turn records \(stream \S*TURNS\); start an edge on it .*\n", err
    )


async def test_without_jetstream_it_says_so(terminal: Terminal, configured: StartConfigured) -> None:
    server = await configured("max_payload: 12582912\n")

    code, out, err = await printed(terminal.start("turns", TRUNKLINE_NATS__URL=server.url))

    assert (code, out) == (3, "")
    assert err == (
        "trunkline: the NATS server's JetStream is not usable (nobody answers for it); start the server with it on\n"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--since yesterday", "--since 'yesterday' is neither a duration nor a time"),
        ("--slower-than 3", "--slower-than '3' is no duration"),
        ("--csv --summary", "--summary is no row of a spreadsheet"),
        ("--outcome lost", "invalid value for '--outcome'"),
        ("-n 0", "invalid value for '-n' / '--last'"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_cure(terminal: Terminal, options: str, sentence: str) -> None:
    code, out, err = await printed(terminal.start(f"turns {options}"))

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"trunkline: {sentence}")
