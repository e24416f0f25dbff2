"""`trunkline talk` with one message: from the command line, from a pipe, and what goes wrong."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.talk_line import TalkLine, clean, started

FIGURES = re.compile(
    r"first [\d.]+ (ms|s) · total [\d.]+ (ms|s)( · [\d,.]+ tokens/s)? · queue [\d.]+ (ms|s) "
    r"· worker [a-z2-9]{10} · trace [0-9a-f]{32}\n"
)
SLOW = ("--metadata", "echo.rate=20", "--metadata", "echo.tokens=1000")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TalkLine]:
    directory = tmp_path_factory.mktemp("talk-once")
    with started("up --ephemeral --port 0", directory) as said:
        yield TalkLine(said, directory)


@pytest.mark.parametrize("argv", [["hello there"], ["hello", "there"]])
def test_the_answer_is_on_stdout_and_its_figures_are_on_stderr(line: TalkLine, argv: list[str]) -> None:
    done = line.once(*argv)

    assert (done.returncode, done.stdout) == (0, "hello there\n")
    assert FIGURES.fullmatch(done.stderr), done.stderr


def test_all_that_comes_through_a_pipe_is_one_message(line: TalkLine) -> None:
    done = line.once(stdin="the first line\nand the second\n")

    assert (done.returncode, done.stdout) == (0, "the first line\nand the second\n")


def test_a_message_is_taken_before_what_comes_through_a_pipe(line: TalkLine) -> None:
    assert line.once("from the command", stdin="from the pipe\n").stdout == "from the command\n"


def test_bytes_that_are_no_text_end_nothing(line: TalkLine) -> None:
    """They come from old files and old locales; the answer's characters may have no place there either."""
    done = line.once("caf\udce9 €", PYTHONIOENCODING="latin-1")

    assert (done.returncode, done.stdout) == (0, "caf? ?\n")


@pytest.mark.parametrize("stdin", [None, "", " \n"])
def test_an_empty_pipe_has_nothing_to_say(line: TalkLine, stdin: str | None) -> None:
    done = line.once(stdin=stdin)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'trunkline: there is nothing to say; give a message: trunkline talk "hello"\n'


def test_machines_get_one_line_of_json(line: TalkLine) -> None:
    done = line.once("--json", "hello there")

    said = json.loads(done.stdout)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert (said["answer"], said["finish_reason"], said["tokens"], said["error"]) == ("hello there", "stop", 2, None)
    assert said["interrupted"] is False
    assert 0 < said["first_ms"] <= said["total_ms"]
    assert said["turn"].startswith("turn_")
    assert said["queue_ms"] > 0
    assert said["worker"]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_a_line_is_named_by_its_url_with_or_without_v1(line: TalkLine, path: str) -> None:
    done = line.once("--url", line.said["url"] + path, "hello", TRUNKLINE_DATA_DIR=str(line.directory))

    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_the_model_can_be_named(line: TalkLine) -> None:
    assert json.loads(line.once("--model", "echo-json", "hello").stdout) == {"echo": "hello"}


@pytest.mark.parametrize(
    ("argv", "out", "words"),
    [
        (["--model", "nix"], "", "404: no model 'nix'; known: echo, "),
        (["--metadata", "echo.fail=cut:2"], "one two \n", "the answer broke off: "),
        (["--metadata", "echo.fail=before:503"], "", "503"),
    ],
)
def test_a_failure_is_one_sentence_and_exit_code_1(line: TalkLine, argv: list[str], out: str, words: str) -> None:
    done = line.once(*argv, "one two three")

    assert (done.returncode, done.stdout) == (1, out)
    assert done.stderr.startswith("trunkline: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--url", "ftp://x"], "--url is not usable; it must be an http:// or https:// URL"),
        (["--url", "http://me:secret@127.0.0.1:1"], "without user or query"),
        (["--url", "http://127.0.0.1:70000"], "--url is not usable; its host or its port is none"),
        (["--url", "http://[::1"], "--url is not usable; its host or its port is none"),
        (["--key-env", "NO_SUCH_KEY"], "--key-env names NO_SUCH_KEY, which is not set; export NO_SUCH_KEY=…"),
        (["--key-env", "BROKEN_KEY"], "BROKEN_KEY holds no key"),
        (["--metadata", "echo.rate"], "--metadata 'echo.rate' is not KEY=VALUE"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_code_2(line: TalkLine, argv: list[str], words: str) -> None:
    done = line.once(*argv, "hello", BROKEN_KEY="sk-broken\x01secret")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("message", [[], ["hello"]])
def test_without_a_line_the_sentence_has_the_cure(tmp_path: Path, message: list[str]) -> None:
    """Port 1 is nobody's."""
    nobody = TalkLine({"data_dir": tmp_path}, tmp_path)

    done = nobody.once(*message, stdin="hello", TRUNKLINE_EDGE__PORT="1")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "trunkline: no line answers at http://127.0.0.1:1; start one with `trunkline up`, or name one that runs with "
        "--url\n"
    )


def test_ctrl_c_hangs_up_and_says_how_fast_that_was(line: TalkLine) -> None:
    argv = [sys.executable, "-m", "trunkline", "talk", *SLOW, "one two three"]
    with subprocess.Popen(
        argv, env=clean(**line.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(3)
        process.send_signal(signal.SIGINT)
        rest, err = process.communicate(timeout=30)

    assert (process.returncode, first) == (130, "one")
    assert rest.endswith("\n")
    assert re.match(r"interrupted, upstream stopped in [\d.]+ (ms|s) · first ", err), err


def test_a_reader_who_has_enough_stops_the_model(line: TalkLine) -> None:
    """As in `trunkline talk … | head -1`."""
    argv = [sys.executable, "-m", "trunkline", "talk", *SLOW, "one"]
    with subprocess.Popen(
        argv, env=clean(**line.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(3)
        process.stdout.close()
        err = process.stderr.read()

    assert process.returncode == 0
    assert err.startswith("interrupted, upstream stopped in ")
