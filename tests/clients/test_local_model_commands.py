"""`trunkline up --local-model` as a user types it: what it starts, what it says, what it leaves behind."""

import asyncio
import json
import os
import resource
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import openai
import pytest

from protocol.settings import SettingsError
from tests.broker.line_fixture import user
from tests.cli.conftest import until
from tests.clients.gguf import cut_short, with_chat_template
from tests.clients.local_line import ENDLESS, START_S, LocalLine, LocalTerminal
from trunkline.local_model import FOLDER, join_parts

OWN_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }} {% endfor %}assistant:"


@pytest.fixture
def joined(data_dir: Path) -> Path:
    """The model that the extra brings, as a file."""
    return join_parts(data_dir / FOLDER)


async def say(line: LocalLine, text: str, max_tokens: int = 4) -> str:
    """What `local` answers."""
    async with line.client as client:
        answer = await client.chat.completions.create(model="local", messages=[user(text)], max_tokens=max_tokens)
    return answer.choices[0].message.content or ""


async def stopped(line: LocalLine, terminal: LocalTerminal) -> int:
    """Its exit code after a SIGTERM; nothing is left of it."""
    line.process.send(signal.SIGTERM)
    code = await line.process.exited(30)
    assert terminal.left() == {}
    return code


async def test_the_first_screen_shows_a_command_that_asks_it(terminal: LocalTerminal) -> None:
    up = terminal.type("up --local-model --ephemeral --port 0")
    await until(lambda: b"curl" in up.out.read_bytes() or up.exit_code is not None, START_S)
    text = up.out.read_text()

    command = next(line for line in text.splitlines() if line.startswith("curl "))
    curl = await asyncio.create_subprocess_exec(*shlex.split(command), "-sS", stdout=asyncio.subprocess.PIPE)
    answer, _ = await curl.communicate()

    models = next(line for line in text.splitlines() if line.strip().startswith("Models"))
    assert "local" in models.split(", ")
    assert '"model": "local"' in command
    assert b'"delta":{"content":"' in answer
    assert answer.endswith(b"data: [DONE]\n\n")
    up.send(signal.SIGINT)
    assert await up.exited(30) == 0
    assert terminal.left() == {}


async def test_it_is_started_again_when_it_dies_and_others_join_the_line(terminal: LocalTerminal) -> None:
    line = await terminal.up("--local-model")
    run_file = Path(line.said["data_dir"]) / "run.json"
    first = line.said["pids"]["model"]

    def model() -> int:
        return int(json.loads(run_file.read_bytes())["pids"]["model"])

    os.kill(first, signal.SIGKILL)
    await until(lambda: model() != first, START_S)
    assert await say(line, "Hello!")

    worker = terminal.type("worker --json")
    await worker.first_line()
    ours = line.said["pids"]["workers"][0]
    os.kill(ours, signal.SIGSTOP)  # so that the turn goes to the one that joined
    try:
        assert await say(line, "Hello!")
    finally:
        os.kill(ours, signal.SIGCONT)
    worker.send(signal.SIGTERM)
    assert await worker.exited(30) == 0
    assert await stopped(line, terminal) == 0
    assert set(os.listdir(terminal.data_dir / FOLDER)) == {"gemma-3-270m-q4_k_m.gguf", "lock"}


async def test_while_it_is_loaded_again_callers_are_told_to_try_again(terminal: LocalTerminal) -> None:
    line = await terminal.up()
    failures: list[openai.APIStatusError] = []
    os.kill(line.said["pids"]["model"], signal.SIGKILL)

    async with line.client as client, asyncio.timeout(START_S):
        ask = partial(client.chat.completions.create, model="local", messages=[user("Hello!")], max_tokens=4)
        while True:
            try:
                await ask()
                break
            except openai.APIStatusError as failed:
                failures.append(failed)

    loading = [failed for failed in failures if failed.status_code == 503]
    assert {failed.status_code for failed in failures} <= {502, 503}  # nobody listens; it loads
    assert loading, "it answers before its model is loaded"
    for told in loading:
        headers = told.response.headers
        assert (told.code, headers["Retry-After"], headers["x-should-retry"]) == ("not_ready", "1", "true")
        assert "target 'local' loads its model; try again in a moment" in told.message
    assert not any("Loading model" in one.message for one in failures)
    assert await stopped(line, terminal) == 0


async def test_what_it_says_may_finish_when_the_line_is_stopped(terminal: LocalTerminal) -> None:
    line = await terminal.up()
    async with line.client as client:
        stream = await client.chat.completions.create(
            model="local", messages=[user("Tell me a story.")], stream=True, max_tokens=60, logit_bias=ENDLESS
        )
        chunks = [await anext(stream)]

        line.process.send(signal.SIGTERM)

        chunks += [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert await line.process.exited(30) == 0
    assert terminal.left() == {}


async def test_it_does_not_outlive_a_line_that_was_killed(terminal: LocalTerminal) -> None:
    line = await terminal.up("--local-model")
    assert line.said["pids"]["model"] in terminal.left()

    line.process.send(signal.SIGKILL)

    await until(lambda: terminal.left() == {})


async def test_a_file_with_a_chat_template_is_asked_by_that(terminal: LocalTerminal, joined: Path) -> None:
    with_chat_template(joined, terminal.directory / "own.gguf", OWN_TEMPLATE)

    line = await terminal.up("--ephemeral --local-model own.gguf")

    assert OWN_TEMPLATE in await line.template()
    assert "TRUNKLINE_LOCAL__STOP" not in (Path(line.said["data_dir"]) / "run.json").read_text()
    assert await say(line, "Hello!", max_tokens=8)
    assert await stopped(line, terminal) == 0
    (terminal.directory / "own.gguf").unlink()


async def test_a_file_without_one_is_asked_plainly(terminal: LocalTerminal, joined: Path) -> None:
    (terminal.directory / "some model.gguf").symlink_to(joined)
    (terminal.directory / "plain.gguf").symlink_to("some model.gguf")

    line = await terminal.up("--ephemeral --local-model=plain.gguf")

    assert "### Assistant" in await line.template()
    assert "Paris" in await say(line, "What is the capital of France?", max_tokens=20)
    assert await stopped(line, terminal) == 0


@pytest.mark.parametrize("size", [4, 3_000_000, 200_000_000])
async def test_a_broken_file_is_one_sentence_and_nothing_runs(terminal: LocalTerminal, joined: Path, size: int) -> None:
    broken = terminal.directory / "broken.gguf"
    cut_short(joined, broken, size)

    up = terminal.type("up --json --port 0 --ephemeral --local-model broken.gguf")

    assert await up.exited(START_S) == 2
    said = up.log.read_text()
    [sentence] = [line for line in said.splitlines() if line.startswith("trunkline: ")]
    assert f"llama.cpp cannot load {broken}: the file is broken, cut short" in sentence
    assert "download it again, or name another with --local-model PATH" in sentence
    assert "Traceback" not in said
    assert up.out.read_bytes() == b""
    assert terminal.left() == {}
    broken.unlink()


async def test_a_missing_file_is_named_before_anything_starts(terminal: LocalTerminal) -> None:
    up = terminal.type("up --json --port 0 --local-model gone.gguf")

    assert await up.exited(START_S) == 2
    assert "trunkline: --local-model: there is no file gone.gguf; name a GGUF file" in up.log.read_text()


async def test_a_directory_that_cannot_hold_the_model_is_named(terminal: LocalTerminal) -> None:
    up = terminal.start("up --json --port 0 --ephemeral --local-model", TRUNKLINE_DATA_DIR="/dev/null/x")

    assert await up.exited(START_S) == 2
    said = up.log.read_text()
    assert "trunkline: the local model cannot be written to /dev/null/x/models: Not a directory; free 250 MB" in said
    assert "Traceback" not in said
    assert terminal.left() == {}


# --- joining its parts -----------------------------------------------------------------------------


def test_its_parts_are_joined_once_and_again_when_a_byte_is_missing(tmp_path: Path) -> None:
    path = join_parts(tmp_path / "models")
    first = path.stat()
    assert path.read_bytes()[:4] == b"GGUF"

    assert join_parts(tmp_path / "models") == path
    assert path.stat().st_mtime_ns == first.st_mtime_ns

    os.truncate(path, first.st_size - 1)
    join_parts(tmp_path / "models")
    assert path.stat().st_size == first.st_size
    path.unlink()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that is full after so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_too_small_is_named_and_no_half_file_stays(tmp_path: Path) -> None:
    with files_of_at_most(10_000_000), pytest.raises(SettingsError, match=r"File too large; free 250 MB there, or set"):
        join_parts(tmp_path / "models")

    assert os.listdir(tmp_path / "models") == ["lock"]
