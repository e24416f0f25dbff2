"""What a user can get wrong: one sentence with the cure, the exit code of its kind, and no traceback."""

import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.processes import OURS, ROOT
from trunkline.__main__ import main


class Typed(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """The one line that explains the end."""
        assert self.out == ""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("trunkline: ")]
        assert len(lines) == 1, self.err
        return lines[0]


def run(directory: Path, *argv: str, **environ: str) -> Typed:
    """Run a command to its end, which comes soon, in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env = {**clean, "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", "trunkline", *argv]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=30, check=False)
    return Typed(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Typed]:
    """Type a command that comes to nothing: in this process, since it starts no other."""

    def call(*argv: str, **environ: str) -> Typed:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            monkeypatch.delenv(name)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["trunkline", *argv])
        monkeypatch.setattr("protocol.logs.set_up", lambda **_: None)  # the test runner's own stay in place
        return Typed(main(), *capsys.readouterr())

    return call


def test_it_says_its_version(refused: Callable[..., Typed]) -> None:
    done = refused("--version")

    assert done.code == 0
    assert re.fullmatch(r"trunkline \d+\.\d+\.\d+\S*\n", done.out)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["up", "--nonsense"], "no such option '--nonsense'; see `trunkline up --help`"),
        (["--nonsense"], "no such option '--nonsense'; see `trunkline --help`"),
        (["worker", "-x"], "no such option '-x'; see `trunkline worker --help`"),
        (["frobnicate"], "no such command 'frobnicate'; see `trunkline --help`"),
        (["up", "--workrs", "2"], "no such option '--workrs'; did you mean --workers?"),
        (["talk", "--jsn", "hello"], "no such option '--jsn'; did you mean --json?"),
        (["chekc"], "no such command 'chekc'; did you mean check?"),
        (
            ["up", "--workers", "0"],
            "invalid value for '--workers': 0 is not in the range x>=1; see `trunkline up --help`",
        ),
        (
            ["up", "--port", "70000"],
            "invalid value for '--port': 70000 is not in the range 0<=x<=65535; see `trunkline up --help`",
        ),
        (
            ["edge", "--port", "http"],
            "invalid value for '--port': 'http' is not a valid integer range; see `trunkline edge --help`",
        ),
        (["check", "it"], "got unexpected extra argument (it); see `trunkline check --help`"),
        (["top", "--once=1"], "option '--once' does not take a value; --help says which options there are"),
        (["worker", "--slots"], "option '--slots' requires an argument; --help says which options there are"),
    ],
)
def test_a_wrong_option_is_one_sentence_with_its_cure(
    refused: Callable[..., Typed], argv: list[str], words: str
) -> None:
    done = refused(*argv)

    assert done == (2, "", f"trunkline: {words}\n")


def test_no_command_at_all_shows_what_there_is(refused: Callable[..., Typed]) -> None:
    done = refused()

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: trunkline [OPTIONS] COMMAND [ARGS]...\n")


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        (["up"], {"TRUNKLINE_EDGE_PORT": "1"}, "no setting 'TRUNKLINE_EDGE_PORT'; did you mean TRUNKLINE_EDGE__PORT?"),
        (["worker"], {"TRUNKLINE_WORKER__SLOTS": "many"}, "TRUNKLINE_WORKER__SLOTS is 'many'; it must be a whole num"),
        (["edge", "--config", "none.toml"], {}, "none.toml: no such file; name another with --config"),
        (["worker", "--pools", "A B"], {}, "--pools is 'A B'; it must be a list"),
        (["worker", "--pools", ","], {}, "--pools is ','; it must be a list with at least one item"),
        (["worker", "--pools", ""], {}, "'--pools': it is empty: give it a value, or leave the option out"),
        (["up", "--upstream", ""], {}, "'--upstream': it is empty: give it a value, or leave the option out"),
        (["worker"], {"TRUNKLINE_WORKER__POOLS": ","}, "TRUNKLINE_WORKER__POOLS is ','; it must be a list with at"),
        (["worker", "--slots", str(2**41)], {}, "--slots is '2199023255552'; it must be a whole number"),
        (["up", "--upstream", "nonsense"], {}, "--upstream is not usable; it must be an http:// or https:// URL"),
        (
            ["up", "--upstream-model", "gpt"],
            {"TRUNKLINE_UPSTREAM__URL": "nonsense"},
            "TRUNKLINE_UPSTREAM__URL is not usable; it must be",
        ),
        (
            ["up", "--upstream", "http://127.0.0.1:1/v1"],
            {},
            "upstream.model is missing; set it beside the others: --up",
        ),
        (
            ["up", "--port", "0"],
            {"TRUNKLINE_UPSTREAM__URL": "http://127.0.0.1:1/v1"},
            "upstream.model is missing; set it beside the others: TRUNKLINE_UPSTREAM__MODEL=…",
        ),
        (["up", "--port", "0"], {"TRUNKLINE_EDGE_PORT": "1"}, "did you mean TRUNKLINE_EDGE__PORT?"),
        (["up", "--otlp", "localhost:4318"], {}, "--otlp is not the URL of a collector; name one that takes OTLP over"),
        (["up", "--local-model", "none.gguf"], {}, "--local-model: there is no file none.gguf; name a GGUF file, or"),
        (["up"], {"TRUNKLINE_EDGE__HOST": "0.0.0.0"}, "no API key is configured; set TRUNKLINE_API_KEYS"),
        (["edge"], {"TRUNKLINE_EDGE__HOST": "0.0.0.0"}, "no API key is configured; set TRUNKLINE_API_KEYS"),
        (["up"], {"TRUNKLINE_HOOKS__ELEVENLABS_SECRET_ENV": "WSEC"}, "from WSEC, which is not set; export WSEC=…"),
        (["edge"], {"TRUNKLINE_HOOKS__ELEVENLABS_SECRET_ENV": "WSEC"}, "from WSEC, which is not set; export WSEC=…"),
        (
            ["edge", "--processes", "2"],
            {"TRUNKLINE_HOOKS__ELEVENLABS_SECRET_ENV": "WSEC"},
            "from WSEC, which is not set; export WSEC=…",
        ),
        (["calls", "ls", "--since", "soon"], {}, "--since 'soon' is neither a duration nor a time"),
        (["calls", "show"], {}, "`trunkline calls show --help`"),
        (["responses", "show"], {}, "`trunkline responses show --help`"),
        (["responses", "rm"], {}, "give ids, or --all with --tenant, or --older-than: one of them"),
        (["responses", "rm", "resp_1", "--older-than", "1h"], {}, "or --older-than: one of them"),
        (["responses", "rm", "--all"], {}, "--all goes with --tenant: it says whose"),
        (["responses", "rm", "--older-than", "soon"], {}, "--older-than 'soon' is no duration"),
        (["responses", "ls", "--tenant", "*"], {}, "--tenant '*' is no name of a key"),
        (["responses", "rm", "--all", "--tenant", ">"], {}, "--tenant '>' is no name of a key"),
        (["up"], {"TRUNKLINE_ADMIN__PORT": "9999"}, "unset TRUNKLINE_ADMIN__PORT, or set it to 0"),
        (["edge", "--processes", "2"], {"TRUNKLINE_ADMIN__PORT": "9999"}, "unset TRUNKLINE_ADMIN__PORT"),
        (
            ["up", "--port", "0"],
            {"TRUNKLINE_DATA_DIR": "/dev/null/x"},
            "/dev/null/x cannot be written: Not a directory",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_cure(
    refused: Callable[..., Typed], argv: list[str], environ: dict[str, str], words: str
) -> None:
    done = refused(*argv, **environ)

    assert done.code == 2
    assert words in done.sentence()


@pytest.mark.parametrize("command", ["up", "worker"])
def test_every_missing_key_is_named_before_anything_starts(
    refused: Callable[..., Typed], tmp_path: Path, command: str
) -> None:
    (tmp_path / "trunkline.toml").write_text(
        "".join(
            f'[models.{name}]\ntargets = ["{name}"]\n[targets.{name}]\nbase_url = "http://127.0.0.1:1/v1"\n'
            f'model = "m"\napi_key_env = "KEY_OF_{name.upper()}"\n'
            for name in ("one", "two")
        )
    )

    done = refused(command)

    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        "trunkline: targets.one takes its key from KEY_OF_ONE, which is not set; export KEY_OF_ONE=…",
        "trunkline: targets.two takes its key from KEY_OF_TWO, which is not set; export KEY_OF_TWO=…",
    ]
    assert not (tmp_path / ".trunkline").exists()


@pytest.mark.parametrize("command", ["up", "worker"])
def test_every_prompt_that_cannot_be_read_is_named_before_anything_starts(
    refused: Callable[..., Typed], tmp_path: Path, command: str
) -> None:
    (tmp_path / "trunkline.toml").write_text(
        "".join(f'[models.{name}]\ntargets = ["t"]\nprompt = "Be brief.\\n{{{{ extra."\n' for name in ("one", "two"))
        + '[targets.t]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n'
    )

    done = refused(command)

    assert (done.code, done.out) == (2, "")
    assert [line.partition(", line 2: ")[0] for line in done.err.splitlines()] == [
        "trunkline: models.one.prompt",
        "trunkline: models.two.prompt",
    ]
    assert not (tmp_path / ".trunkline").exists()


@pytest.mark.parametrize("argv", [["up"], ["edge"], ["edge", "--processes", "2"]])
def test_a_port_in_use_is_named(refused: Callable[..., Typed], argv: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = refused(*argv, "--port", str(port))

    assert done.code == 2
    assert (
        f"port {port} on 127.0.0.1 is in use; stop what listens there, or choose another with --port" in done.sentence()
    )


def test_two_lines_never_share_a_data_directory(refused: Callable[..., Typed], tmp_path: Path) -> None:
    (tmp_path / ".trunkline").mkdir()
    with (tmp_path / ".trunkline" / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = refused("up", "--port", "0")

    assert done.code == 2
    assert "another `trunkline up` uses the data directory" in done.sentence()


@pytest.mark.parametrize("argv", [["up", "--port", "0"], ["edge", "--port", "0"], ["worker"]])
def test_a_nats_that_cannot_be_reached_is_exit_3(tmp_path: Path, argv: list[str]) -> None:
    where = {"TRUNKLINE_NATS__URL": "nats://user:secret@127.0.0.1:9", "TRUNKLINE_NATS__WAIT_S": "0.3"}

    done = run(tmp_path, *argv, **where)

    assert done.code == 3
    assert "no NATS server at 127.0.0.1:9 within 0.3 s" in done.sentence()
    assert "secret" not in done.err
