"""`trunkline check` on a line that runs, and on none."""

import asyncio
import json
import os
import re
import signal
import socket
from pathlib import Path

import jsonschema_rs
import psutil
import pytest

from protocol.settings import Settings, parse
from tests.broker.nats_server import NatsServer
from tests.cli.checking import check
from tests.cli.conftest import Terminal, until
from tests.deploy import compose
from tests.deploy.dockerfile import IMAGE_ENV
from tests.workers.fake_upstream import upstream
from trunkline.__main__ import main
from trunkline.check.bus import look_at_bus
from trunkline.check.machine import look_at_data, look_at_ports
from trunkline.check.run import SECTIONS
from trunkline.ports import free_port

TEXT = {"type": "string", "minLength": 1}
ROW = {
    "type": "object",
    "required": ["section", "name", "level", "text", "cure"],
    "additionalProperties": False,
    "properties": {
        "section": {"enum": list(SECTIONS)},
        "name": TEXT,
        "level": {"enum": ["ok", "warn", "fail"]},
        "text": TEXT,
        "cure": {"type": "string"},
    },
    "if": {"properties": {"level": {"const": "ok"}}},
    "then": {"properties": {"cure": {"const": ""}}},
    "else": {"properties": {"cure": TEXT}},
}
COUNTS = {level: {"type": "integer"} for level in ("ok", "warn", "fail")}
SCHEMA = {
    "type": "object",
    "required": ["version", "exit_code", "complete", "counts", "findings"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "string"},
        "exit_code": {"enum": [0, 1, 2]},
        "complete": {"type": "boolean"},
        "counts": {"type": "object", "required": list(COUNTS), "properties": COUNTS},
        "findings": {"type": "array", "items": ROW},
    },
}


async def test_a_line_that_runs_well_is_fine_from_end_to_end(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0 --workers 2 --edges 2")
    said = await up.first_line()

    checked = await check(terminal)

    assert checked.code == 0, checked.text
    jsonschema_rs.validate(SCHEMA, checked.said)
    assert checked.wrong().keys() <= {("files", "limit"), ("data", "disk")}, "what is so on this machine"
    assert {row["section"] for row in checked.rows("", "")} <= set(SECTIONS)
    assert [row["name"] for row in checked.rows("edges")] == said["admin"]["edges"]
    assert "2 workers, 512 slots free" in checked.rows("edges")[0]["text"]
    living = [row["text"] for row in checked.rows("workers") if not row["name"].startswith("http")]
    assert len(living) == 2
    assert re.fullmatch(r"pool default; 256 of 256 slots free; configuration [0-9a-f]{12}; Trunkline \S+", living[0])
    assert [row["name"] for row in checked.rows("streams")] == ["JOBS_default", "TURNS", "CALLS", "RESPONSES"]
    assert checked.row("clock", "NATS")["level"] == "ok"
    assert said["nats"].removeprefix("nats://") in checked.row("nats", "server")["text"]


async def test_what_the_line_was_told_on_its_command_line_is_looked_at_too(terminal: Terminal) -> None:
    async with upstream(lambda exchange: exchange.plain(200, '{"data": [{"id": "gpt"}]}')) as fake:
        up = terminal.start(f"up --json --port 0 --upstream {fake.url} --upstream-model gpt")
        await up.first_line()
        checked = await check(terminal)

    assert checked.code == 0, checked.text
    assert "lists gpt" in checked.row("targets", "upstream")["text"]
    assert {row["level"] for row in checked.rows("workers")} == {"ok"}


async def test_looking_changes_nothing(terminal: Terminal, nats_server: NatsServer) -> None:
    """No stream is made where none is, and the data directory is left alone."""
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "untouched"}

    first, second = await check(terminal, **where), await check(terminal, **where)

    assert [row["text"] for row in second.rows("streams")] == [
        "there is no stream untouched_1_JOBS_default yet",
        "there is no stream untouched_1_TURNS yet",
        "there is no stream KV_untouched_1_CALLS yet",
        "there is no stream KV_untouched_1_RESPONSES yet",
    ]
    assert first.wrong() == second.wrong()
    assert not (terminal.directory / ".trunkline").exists()


async def test_a_frozen_worker_and_a_frozen_edge_are_found(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0 --workers 2 --edges 2")
    said = await up.first_line()
    frozen = [said["pids"]["workers"][0], said["pids"]["edges"][1]]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        checked = await check(terminal)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    assert checked.code == 1
    for section, name in (("workers", said["admin"]["workers"][0]), ("edges", said["admin"]["edges"][1])):
        row = checked.row(section, name)
        assert (row["level"], "frozen, or gone" in row["text"]) == ("fail", True)


async def test_a_worker_with_other_settings_is_found(terminal: Terminal, nats_server: NatsServer) -> None:
    where = {"TRUNKLINE_NATS__URL": nats_server.url, "TRUNKLINE_NATS__PREFIX": "odd"}
    like = terminal.start("worker --json", **where)
    odd = terminal.start("worker --json --slots 3", **where, TRUNKLINE_TURN__BUDGET_S="7")
    await asyncio.gather(like.first_line(), odd.first_line())

    checked = await check(terminal, **where)

    rows = {row["text"].partition(" of ")[2].partition(" ")[0]: row["level"] for row in checked.rows("workers")[:2]}
    assert rows == {"256": "ok", "3": "warn"}
    together = checked.row("workers", "pool default")
    assert (checked.code, together["level"]) == (1, "fail")
    assert "different configurations" in together["text"]


async def test_models_that_nobody_serves_are_named(terminal: Terminal, nats_server: NatsServer) -> None:
    (terminal.directory / "trunkline.toml").write_text(
        '[models.slow]\npool = "big"\ntargets = ["t"]\n[targets.t]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n'
    )

    checked = await check(terminal, TRUNKLINE_NATS__URL=nats_server.url, TRUNKLINE_NATS__PREFIX="nobody")

    row = checked.row("workers", "pool big")
    assert row["text"] == "no worker takes its jobs, so nobody answers slow"
    assert "`trunkline worker --pools big`" in row["cure"]
    assert "echo, echo-tools" in checked.row("workers", "pool default")["text"]


async def test_where_no_line_runs_that_is_said_and_not_much_else(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"nats://127.0.0.1:{free_port('127.0.0.1')}"  # somebody may have the usual port
    monkeypatch.setattr("trunkline.check.bus.DEFAULT_URL", nobody)

    seen = await look_at_bus(Settings(), {})

    (finding,) = seen.findings
    assert (finding.level, finding.seen) == ("fail", False)
    assert finding.text.startswith("no line runs here")
    assert "`trunkline up`" in finding.cure


def test_without_a_line_it_is_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("trunkline.check.bus.DEFAULT_URL", f"nats://127.0.0.1:{free_port('127.0.0.1')}")
    monkeypatch.setattr("sys.argv", ["trunkline", "check", "--json"])
    monkeypatch.setenv("TRUNKLINE_EDGE__PORT", "0")
    monkeypatch.chdir(tmp_path)

    code = main()

    said = json.loads(capsys.readouterr().out)
    jsonschema_rs.validate(SCHEMA, said)
    assert (code, said["complete"]) == (2, False)
    assert {row["section"] for row in said["findings"] if row["level"] == "fail"} <= {"nats", "files", "data"}
    assert "edges" not in {row["section"] for row in said["findings"]}


async def test_what_a_line_that_was_killed_left_is_not_taken_for_a_line(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0")
    said = await up.first_line()
    up.send(signal.SIGKILL)
    await until(lambda: terminal.left() == {})

    checked = await check(terminal, TRUNKLINE_NATS__URL=said["nats"])

    assert (checked.code, checked.rows("edges")) == (2, [])
    assert "within 2 s" in checked.row("nats", "server")["text"]


# --- the configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environ", "text", "cure"),
    [
        (
            "",
            {"TRUNKLINE_WORKER__SLOTS": "many"},
            "TRUNKLINE_WORKER__SLOTS is 'many'",
            "it must be a whole number, at least 1",
        ),
        ("--config none.toml", {}, "none.toml: no such file", "name another with --config"),
        ("", {"TRUNKLINE_EDGE_PORT": "1"}, "no setting 'TRUNKLINE_EDGE_PORT'", "did you mean TRUNKLINE_EDGE__PORT?"),
    ],
)
async def test_a_configuration_that_cannot_be_read_is_the_one_finding(
    terminal: Terminal, options: str, environ: dict[str, str], text: str, cure: str
) -> None:
    checked = await check(terminal, options, **environ)

    (row,) = checked.said["findings"]
    assert (checked.code, row["section"], row["level"]) == (2, "configuration", "fail")
    assert text in row["text"]
    assert cure in row["cure"]


async def test_an_edge_that_would_be_open_to_everybody_is_wrong(terminal: Terminal, nats_server: NatsServer) -> None:
    checked = await check(
        terminal, TRUNKLINE_EDGE__HOST="0.0.0.0", TRUNKLINE_EDGE__PORT="0", TRUNKLINE_NATS__URL=nats_server.url
    )

    row = checked.row("configuration", "exposure")
    assert (checked.code, row["level"]) == (1, "fail")
    assert "TRUNKLINE_API_KEYS" in row["cure"]


async def test_a_prompt_that_cannot_be_read_is_wrong(
    terminal: Terminal, nats_server: NatsServer, tmp_path: Path
) -> None:
    file = tmp_path / "prompt.toml"
    file.write_text(
        '[models.desk]\ntargets = ["t"]\nprompt = "{{"\n[targets.t]\nbase_url = "http://127.0.0.1:1"\nmodel = "m"'
    )
    checked = await check(terminal, TRUNKLINE_CONFIG=str(file), TRUNKLINE_NATS__URL=nats_server.url)

    row = checked.row("configuration", "prompts")
    assert (checked.code, row["level"]) == (1, "fail")
    assert row["text"].startswith("models.desk.prompt, line 1: ")
    assert row["cure"] == "correct the template, or leave it out"


# --- this machine ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "level"), [(None, "fail"), ("nats://elsewhere:4222", "warn")])
async def test_a_port_that_something_else_holds_is_a_finding(url: str | None, level: str) -> None:
    """Where the line runs elsewhere, this machine may have no edge."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environ = {"TRUNKLINE_EDGE__PORT": str(port), **({"TRUNKLINE_NATS__URL": url} if url else {})}
        (finding,) = await look_at_ports(parse(None, environ), {})

    assert finding.level == level
    assert f"port {port} is held by {psutil.Process().name()} (pid {os.getpid()})" in finding.text
    assert "TRUNKLINE_EDGE__PORT" in finding.cure


async def test_ports_that_the_line_holds_itself_are_fine(terminal: Terminal) -> None:
    port = free_port("127.0.0.1")
    up = terminal.start(f"up --json --port {port}")
    said = await up.first_line()
    settings = parse(None, {"TRUNKLINE_EDGE__PORT": str(port)})

    (known,), (unknown,) = await look_at_ports(settings, said), await look_at_ports(settings, {})

    assert (known.level, unknown.level) == ("ok", "ok")
    assert "the line that runs here" in known.text
    assert "a process of Trunkline" in unknown.text


async def test_a_line_that_runs_on_another_port_does_not_need_the_usual_one(terminal: Terminal) -> None:
    up = terminal.start("up --json --port 0")
    said = await up.first_line()
    with socket.create_server(("127.0.0.1", 0)) as other:
        checked = await check(terminal, TRUNKLINE_EDGE__PORT=str(other.getsockname()[1]))

    row = checked.row("ports", "edge")
    assert (checked.code, row["level"]) == (0, "ok"), checked.text
    assert row["text"] == f"127.0.0.1 port {said['url'].rpartition(':')[2]} is held by the line that runs here"


async def test_an_address_that_is_not_ours_is_a_finding() -> None:
    settings = parse(None, {"TRUNKLINE_EDGE__HOST": "192.0.2.1", "TRUNKLINE_API_KEYS": "me:secret"})

    (finding,) = await look_at_ports(settings, {})

    assert finding.level == "fail"
    assert "nobody can listen on 192.0.2.1 port 8080" in finding.text


def test_a_data_directory_that_cannot_be_made_is_a_finding() -> None:
    (finding,) = look_at_data(parse(None, {"TRUNKLINE_DATA_DIR": "/dev/null/x"}), {})

    assert finding.level == "fail"
    assert "/dev/null is a file" in finding.text


@pytest.mark.parametrize(
    ("environ", "run", "names"),
    [
        ({}, {}, ["directory", "disk"]),
        ({"TRUNKLINE_NATS__URL": "nats://elsewhere:4222"}, {}, ["directory"]),
        ({"TRUNKLINE_NATS__URL": "nats://elsewhere:4222"}, {"url": "http://127.0.0.1:1"}, ["directory", "disk"]),
    ],
)
def test_a_disk_needs_room_where_a_line_writes_to_it(
    tmp_path: Path, environ: dict[str, str], run: dict[str, str], names: list[str]
) -> None:
    """In a container there are 16 MB, and nothing that would fill them."""
    findings = look_at_data(parse(None, {**environ, "TRUNKLINE_DATA_DIR": str(tmp_path)}), run)

    assert [finding.name for finding in findings] == names


async def test_a_workers_container_is_a_place_to_check_from(terminal: Terminal, nats_server: NatsServer) -> None:
    """As compose sets it up, except for what must be of this machine."""
    here = {
        "TRUNKLINE_NATS__URL": nats_server.url,
        "TRUNKLINE_DATA_DIR": str(terminal.directory),
        "TRUNKLINE_EDGE__PORT": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    }
    said = {"TRUNKLINE_NATS__PREFIX": "container", "TRUNKLINE_TURN__BUDGET_S": "6"}
    edge, worker = ({**IMAGE_ENV, **compose.environment(tier, said), **here} for tier in ("edge", "worker"))
    await terminal.start("worker --json", **worker).first_line()
    await terminal.start("edge --json", **edge).first_line()

    checked = await check(terminal, **worker)

    assert checked.code == 0, checked.text
    assert checked.wrong().keys() <= {("files", "limit")}, "what is so on this machine"
