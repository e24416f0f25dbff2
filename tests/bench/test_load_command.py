"""`python -m bench load` and `profile` as a user starts them: real processes, tiny numbers, never speed."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.processes import Family, Process, free_ports

TINY = "--runs 1 --seconds 0.5 --streams 4 --tokens 10 --turns 40"
END_S = 120.0


class Terminal:
    """Somewhere to type `python -m bench …`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._family = Family(directory)
        self._count = 0

    def start(self, command: str) -> Process:
        self._count += 1
        return self._family.start(f"bench-{self._count}", [sys.executable, "-m", "bench", *command.split()])

    async def run(self, command: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(command)
        code = await process.exited(END_S)
        return code, process.out.read_text(), process.log.read_text()

    async def measure(self, options: str) -> dict[str, Any]:
        """The JSON of one `load`. Its exit code says the same as the JSON: tiny figures may miss their targets."""
        file = self.directory / "figures.json"
        code, out, err = await self.run(f"load {options} --json {file}")
        assert code in (0, 1), err
        kept: dict[str, Any] = json.loads(file.read_bytes())
        assert kept["passed"] is (code == 0)
        for scenario in kept["scenarios"]:
            assert f"{scenario['scenario']}: " in out
        return kept

    async def close(self) -> list[str]:
        return await self._family.stop()


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    """Its processes do not outlive the test."""
    made = Terminal(tmp_path)
    yield made
    assert await made.close() == []


def figures(scenario: dict[str, Any], side: str) -> dict[str, float]:
    """What was measured of one side in the first run; nothing was lost."""
    run = scenario["runs"][0]
    assert run["examples"] == {}
    assert scenario["failures"] == []
    measured: dict[str, float] = run["sides"][side]
    assert measured["bad"] == 0
    return measured


async def test_paced_streams_are_measured_direct_through_the_line_and_through_another_gateway(
    terminal: Terminal,
) -> None:
    """The other gateway is the upstream itself, under its own address."""
    port = free_ports(1)[0]

    kept = await terminal.measure(f"--only paced {TINY} --upstream-port {port} --against http://127.0.0.1:{port}/v1")

    [scenario] = kept["scenarios"]
    for side in ("direct", "line", "against"):
        assert {"first_p50_ms", "first_p99_ms", "gap_p99_ms", "tokens_per_s"} <= figures(scenario, side).keys()
    assert {"cpu_us_per_token", "cpu_edge_us", "rss_worker_mb"} <= figures(scenario, "line").keys()
    assert scenario["spans"] > 0
    by_name = {row["figure"]: row for row in scenario["figures"]}
    assert by_name["first_p50_ms"]["added"] is not None
    assert by_name["bad"]["verdict"] == "passed"


async def test_the_other_scenarios_are_measured_without_a_loss(terminal: Terminal) -> None:
    kept = await terminal.measure(f"--only many,unpaced,ordinary --only flat {TINY}")

    many, unpaced, ordinary, flat = kept["scenarios"]
    assert figures(many, "line")["turns"] > 0
    assert figures(unpaced, "line")["share_of_direct"] > 0
    assert figures(ordinary, "line")["share_of_direct"] > 0
    assert figures(flat, "line")["turns"] == 80
    assert {"rss_edge_grown_mb", "rss_worker_grown_mb", "rss_nats_grown_mb"} <= figures(flat, "line").keys()


async def test_streams_that_wait_are_measured_while_they_do(terminal: Terminal) -> None:
    kept = await terminal.measure("--only waiting --streams 20")

    line = figures(kept["scenarios"][0], "line")
    assert line["turns"] == 20
    assert "rss_kb_per_stream" in line


async def test_a_profile_names_layers_and_leaves_stacks_for_flame_graphs(terminal: Terminal) -> None:
    stacks = terminal.directory / "line.stacks"

    code, out, err = await terminal.run(f"profile --seconds 1.5 --streams 20 --out {stacks}")

    if code == 2:
        assert "ptrace_scope" in err  # nobody may look into processes here
        return
    assert code == 0, err
    for expected in ("edge: ", "worker: ", "nats", "samples by layer", "functions"):
        assert expected in out
    assert {line.partition(";")[0] for line in stacks.read_text().splitlines()} == {"edge", "worker"}


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """It is listened to: a shell has what it runs in the background ignore it, tests and all that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_bench_that_is_interrupted_leaves_no_process_behind(terminal: Terminal, number: signal.Signals) -> None:
    process = terminal.start("load --only many --streams 5")
    while len(children := psutil.Process(process.pid).children(recursive=True)) < 6:  # the generator is the last
        process.check(float("inf"))
        await asyncio.sleep(0.02)

    process.send(number)

    assert await process.exited(30.0) == 130
    assert "Traceback" not in process.log.read_text()
    assert [child for child in children if child.is_running()] == []


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("load --only paced,fast", "no scenario fast; there are paced, many"),
        ("load --runs 0", "--runs"),
        ("load --json /no/such/directory/figures.json", "cannot be written"),
        ("load --against https://127.0.0.1:1/v1", "http:// URL"),
        ("load --against http://127.0.0.1:1/v1", "does not answer from http://127.0.0.1:"),
        ("load --against http://127.0.0.1:1/v1 --against-key-env NO_SUCH_KEY", "NO_SUCH_KEY is not set"),
        ("load --against http://127.0.0.1:1/v1 --against-pid 2147483647", "there is no process 2147483647"),
        ("profile --scenario flat", "flat"),
        ("profile --out /no/such/directory/stacks", "cannot be written"),
    ],
)
async def test_bad_input_gets_a_sentence(terminal: Terminal, command: str, sentence: str) -> None:
    code, _, err = await terminal.run(command)

    assert code == 2
    assert sentence in " ".join(err.split())
    assert "Traceback" not in err


async def test_a_port_in_use_gets_a_sentence(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = await terminal.run(f"load --upstream-port {taken.getsockname()[1]}")

    assert code == 2
    assert "in use; choose another" in err
