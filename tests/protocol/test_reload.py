"""The configuration read again: what a running process follows, what it says of the rest, and what it refuses."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.reload import Outcome, Reloader, left_behind, reader, renewed
from protocol.settings import Settings, SettingsError, parse

DESK = '[models.desk]\ntargets = ["up"]\n[targets.up]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'


def told(text: str = "", **environ: str) -> Settings:
    return parse(text, environ)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (DESK, {}),
        (DESK.replace('"m"', '"other"'), {}),
        ("[turn]\nbudget_s = 3.0", {}),
        ("[breaker]\nopen_s = 9.0", {}),
        ('[tools.end_call]\nonce = "off"', {}),
        ("[builtin]\nenabled = false", {}),
        ('[upstream]\nurl = "http://h/v1"\nmodel = "m"', {}),
        ("", {"TRUNKLINE_TURN__ON_LOST": "continue"}),
    ],
)
def test_a_process_that_follows_is_as_one_that_starts_now(text: str, environ: dict[str, str]) -> None:
    running, read = told(), told(text, **environ)

    new = renewed(running, read)

    assert new == read != running
    assert new.digest() == read.digest() != running.digest()
    assert left_behind(new, read, foreign="worker") == []


@pytest.mark.parametrize("text", ["[profiles.vapi]\nguard_s = 6", '[tenants.default]\nprofile = "vapi"'])
def test_profiles_are_followed_and_show_in_the_hash(text: str) -> None:
    """Only edges choose by them; yet a worker that has not read the file again is known by its hash alone."""
    running, read = told(), told(text)

    new = renewed(running, read)

    assert new == read != running
    assert new.digest() == read.digest() != running.digest()
    assert left_behind(new, read, foreign="worker") == []


@pytest.mark.parametrize(
    ("text", "of_an_edge", "of_a_worker"),
    [
        ("[edge]\nport = 1\nlame_s = 0.0", ["edge.port", "edge.lame_s"], []),
        ('[worker]\nslots = 1\npools = ["a"]', [], ["worker.slots", "worker.pools"]),
        ("[admin]\nport = 1", ["admin.port"], ["admin.port"]),
        ('[nats]\nprefix = "other"', ["nats.prefix"], ["nats.prefix"]),
        ("[jobs]\nmax_msgs = 1", ["jobs.max_msgs"], ["jobs.max_msgs"]),
        ("[hooks]\nwindow_s = 1", ["hooks.window_s"], ["hooks.window_s"]),
        ('[telemetry]\nlog_level = "debug"', ["telemetry.log_level"], ["telemetry.log_level"]),
        ('data_dir = "other"', ["data_dir"], ["data_dir"]),
    ],
)
def test_what_needs_a_restart_stays_and_is_named(text: str, of_an_edge: list[str], of_a_worker: list[str]) -> None:
    running, read = told(), told(text)

    new = renewed(running, read)

    assert new == running
    assert left_behind(new, read, foreign="worker") == of_an_edge
    assert left_behind(new, read, foreign="edge") == of_a_worker


def test_what_can_be_followed_is_though_something_else_needs_a_restart() -> None:
    new = renewed(told(), told("[turn]\nbudget_s = 3.0\n[edge]\nport = 1"))

    assert (new.turn.budget_s, new.edge.port) == (3.0, 8080)


class Process:
    """One that counts and remembers; `orders` are obeyed until it is left."""

    def __init__(self, read: Callable[[], Settings]) -> None:
        self.applied: list[Settings] = []
        self.outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self.refuses = ""
        self._ordered = asyncio.Event()
        reloader = Reloader(told(), read=read, apply=self._apply, count=self.outcomes.put_nowait, foreign="worker")
        self.running = asyncio.create_task(reloader.run(self._ordered))

    def _apply(self, settings: Settings) -> None:
        if self.refuses:
            raise SettingsError(self.refuses)
        self.applied.append(settings)

    async def reload(self) -> Outcome:
        """What came of one order."""
        self._ordered.set()
        return await asyncio.wait_for(self.outcomes.get(), 10)


async def test_each_order_is_applied_refused_or_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "protocol.reload")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "trunkline.toml"
    file.write_text("")
    process = Process(reader({}))

    def change(text: str) -> None:
        caplog.clear()
        file.write_text(text)

    try:
        assert await process.reload() == "unchanged"
        change(DESK)
        assert await process.reload() == "applied"
        assert "desk" in process.applied[-1].models
        assert caplog.messages == ["configuration reloaded"]
        change(DESK + "[edge]\nport = 1\n")
        assert await process.reload() == "unchanged"
        assert caplog.messages == ["changed, but only after a restart: edge.port", "configuration unchanged"]
        change("[turn]\nbudget = 3.0")
        assert await process.reload() == "refused"
        [sentence] = caplog.messages
        assert "nothing changes: trunkline.toml, line 2: [turn] has no key 'budget'" in sentence
        change("[turn]\nbudget_s = 3.0")
        process.refuses = "a key is missing; export it"
        assert await process.reload() == "refused"
        assert caplog.messages[-1].endswith("nothing changes: a key is missing; export it")
        process.refuses = ""
        assert await process.reload() == "applied", "what was refused is not taken for running"
    finally:
        process.running.cancel()


async def test_a_bug_ends_neither_the_process_nor_the_next_order(caplog: pytest.LogCaptureFixture) -> None:
    read: list[Settings | Exception] = [told("[turn]\nbudget_s = 3.0"), RuntimeError("a bug")]

    def next_one() -> Settings:
        match read.pop():
            case Exception() as error:
                raise error
            case settings:
                return settings

    process = Process(next_one)
    try:
        assert [await process.reload(), await process.reload()] == ["refused", "applied"]
        assert "a bug" in caplog.text
    finally:
        process.running.cancel()


def test_a_file_that_is_gone_is_refused_and_one_that_comes_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its models would go with it, in the moment in which an editor writes it anew."""
    monkeypatch.chdir(tmp_path)
    without = reader({})
    (tmp_path / "trunkline.toml").write_text(DESK)
    with_one = reader({})

    assert "desk" in without().models
    (tmp_path / "trunkline.toml").unlink()
    with pytest.raises(SettingsError, match=r"trunkline\.toml: no such file"):
        with_one()


def test_an_option_goes_over_the_file_as_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[edge]\nport = 1\n[turn]\nbudget_s = 3.0")
    environ = {"TRUNKLINE_CONFIG": str(tmp_path / "other.toml"), "TRUNKLINE_EDGE__PORT": "7"}

    read = reader(environ, {"TRUNKLINE_EDGE__PORT": "--port"})()

    assert (read.edge.port, read.turn.budget_s) == (7, 3.0)
