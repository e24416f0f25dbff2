"""`trunkline talk` on a terminal: what a person types, and what is on the screen then."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.pseudo_terminal import CTRL_C, CTRL_D, ENTER, UP, PseudoTerminal
from tests.cli.talk_line import TalkLine, started
from tests.cli.told_upstream import ToldUpstream, told_upstream

KEY = "sk-canary-4711"
ECHO = ("--model", "echo")
SLOW = (*ECHO, "--metadata", "echo.rate=5")
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
FIGURES = "  first TIME · total TIME · RATE · queue TIME · worker WORKER · trace TRACE"
INTERRUPTED = f"  interrupted, upstream stopped in TIME · {FIGURES.strip()}"
UNHEARD = re.compile(r", \d+ tokens? unheard")  # so far the upstream may have come before it was stopped
TRACE = re.compile(r"\b[0-9a-f]{32}\b")
WHERE_IS_THE_CURSOR, CURSOR_IS_HERE = "\x1b[6n", "\x1b[3;9R"


@pytest.fixture(scope="module")
def told() -> Iterator[ToldUpstream]:
    with told_upstream() as told:
        yield told


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, told: ToldUpstream) -> Iterator[TalkLine]:
    directory = tmp_path_factory.mktemp("talk")
    with started(f"up --ephemeral --port 0 --upstream {told.url} --upstream-model told", directory) as said:
        yield TalkLine(said, directory)


@pytest.fixture(autouse=True)
def as_it_was(told: ToldUpstream) -> None:
    """Each test finds an upstream that was asked nothing."""
    told.words, told.endless = ["Fine, ", "thanks."], False
    told.bodies.clear()
    told.hung_up.clear()


def shown(terminal: PseudoTerminal) -> list[str]:
    """The screen, each figure as the word for its kind; one that may be missing is left out."""
    text = re.sub(r"[\d,.]+ m?s\b", "TIME", UNHEARD.sub("", terminal.text))
    text = re.sub(r"[\d,.]+ tokens/s", "RATE", text)
    return TRACE.sub("TRACE", re.sub(r"worker [a-z2-9]{10}", "worker WORKER", text)).split("\n")


def turns(terminal: PseudoTerminal) -> int:
    """How many turns have their figures."""
    return len(TRACE.findall(terminal.text))


def say(terminal: PseudoTerminal, text: str) -> None:
    """Type a line and wait for the figures of its turn, and for the next prompt."""
    before = turns(terminal)
    at_prompt(terminal)
    terminal.type(text + ENTER)
    terminal.until(lambda: turns(terminal) > before)
    at_prompt(terminal)


def at_prompt(terminal: PseudoTerminal) -> None:
    terminal.until(lambda: terminal.lines[-1] == "you>")


def command(terminal: PseudoTerminal, text: str, answer: str) -> None:
    """Type a command and wait for what it says."""
    at_prompt(terminal)
    terminal.type(text + ENTER)
    terminal.until(answer)
    at_prompt(terminal)


def leave(terminal: PseudoTerminal) -> None:
    at_prompt(terminal)
    terminal.type(CTRL_D)
    assert terminal.exit_code() == 0


def test_two_turns_look_like_this_and_the_second_knows_the_first(line: TalkLine, told: ToldUpstream) -> None:
    with line.talk("--system", "Be brief.") as terminal:
        say(terminal, "How are you?")
        say(terminal, "And now?")
        leave(terminal)

    assert shown(terminal) == [
        f"  upstream at {line.said['url']}; /help says what else you can type",
        "you> How are you?",
        "upstream> Fine, thanks.",
        FIGURES,
        "you> And now?",
        "upstream> Fine, thanks.",
        FIGURES,
        "you>",
    ]
    assert told.last_messages() == [
        ("system", "Be brief."),
        ("user", "How are you?"),
        ("assistant", "Fine, thanks."),
        ("user", "And now?"),
    ]


@pytest.mark.parametrize("key", [ENTER, CTRL_C])
def test_a_barge_in_stops_the_upstream_and_the_history_holds_what_was_heard(
    line: TalkLine, told: ToldUpstream, key: str
) -> None:
    told.words, told.endless = ["so ", "much "], True
    with line.talk() as terminal:
        at_prompt(terminal)
        terminal.type("Tell me everything" + ENTER)
        terminal.until("upstream> so much so")
        terminal.type(key)
        terminal.until(lambda: turns(terminal) == 1)
        assert told.hung_up.wait(10)
        heard = terminal.lines[2].removeprefix("upstream> ")
        told.endless = False
        say(terminal, "Stop")
        leave(terminal)

    assert shown(terminal)[3] == INTERRUPTED
    assert heard.startswith("so much so")
    roles, texts = zip(*told.last_messages(), strict=True)
    assert roles == ("user", "assistant", "user")
    assert texts[1].rstrip() == heard


def test_words_typed_into_an_answer_are_said_next(line: TalkLine) -> None:
    with line.talk(*SLOW) as terminal:
        at_prompt(terminal)
        terminal.type(LONG + ENTER)
        terminal.until("echo> one two")
        terminal.type("wait a momx\x7fent")
        terminal.until("echo> one two three four")
        terminal.type(ENTER)
        terminal.until("echo> wait a moment")
        terminal.until(lambda: turns(terminal) == 2)
        leave(terminal)

    screen = shown(terminal)
    assert screen[3:6] == [INTERRUPTED, "you> wait a moment", "echo> wait a moment"]


def test_a_terminal_is_never_asked_where_its_cursor_is(line: TalkLine) -> None:
    """One that does not answer held up the first line, and was told so in the middle of the conversation."""
    with line.talk(*ECHO, PROMPT_TOOLKIT_NO_CPR="0") as terminal:
        say(terminal, "hello there")
        say(terminal, "hello again")
        leave(terminal)

    assert WHERE_IS_THE_CURSOR not in terminal.typescript
    assert "\x1b[" in terminal.typescript, "it is no plain terminal"


def test_where_the_cursor_is_counts_as_nothing_typed(line: TalkLine) -> None:
    """A late answer to the program before: Enter after it is the barge-in alone, and the next line is clean."""
    with line.talk(*SLOW) as terminal:
        at_prompt(terminal)
        terminal.type(LONG + ENTER)
        terminal.until("echo> one two")
        terminal.type(CURSOR_IS_HERE + ENTER)
        terminal.until(lambda: turns(terminal) == 1)
        at_prompt(terminal)
        terminal.type("stop it" + ENTER)
        terminal.until(lambda: turns(terminal) == 2)
        leave(terminal)

    assert shown(terminal)[3:7] == [INTERRUPTED, "you> stop it", "echo> stop it", FIGURES]


def test_a_caller_who_leaves_before_the_first_word_learns_the_trace_too(line: TalkLine) -> None:
    """No header has come by then: the line's record alone names the turn."""
    with line.talk(*ECHO, "--metadata", "echo.first_ms=60000") as terminal:
        at_prompt(terminal)
        terminal.type("hello" + ENTER)
        terminal.until("echo>")
        terminal.type(ENTER)
        terminal.until(lambda: turns(terminal) == 1)
        leave(terminal)

    assert terminal.lines[3].startswith("  interrupted")


def test_the_figures_of_a_late_record_come_above_the_prompt(line: TalkLine) -> None:
    """A frozen worker does not say when its upstream was closed; the prompt does not wait for that."""
    worker = line.said["pids"]["workers"][0]
    with line.talk(*SLOW) as terminal:
        at_prompt(terminal)
        terminal.type(LONG + ENTER)
        terminal.until("echo> one two three")
        os.kill(worker, signal.SIGSTOP)
        try:
            terminal.type(ENTER)
            at_prompt(terminal)
            without = turns(terminal)
            terminal.type("meanwh")
            terminal.until(lambda: turns(terminal) == 1)
        finally:
            os.kill(worker, signal.SIGCONT)
        terminal.until("you> meanwh")
        terminal.type(CTRL_C)
        leave(terminal)

    assert without == 0
    assert terminal.lines[3].startswith("  interrupted · first ")


def test_commands_are_listed_where_one_is_asked_for_or_unknown(line: TalkLine) -> None:
    with line.talk() as terminal:
        command(terminal, "/help", "is said next")
        command(terminal, "/modl", "there is no command /modl")
        terminal.type("/quit" + ENTER)
        assert terminal.exit_code() == 0

    names = ["/model", "/system", "/tools", "/retry", "/trace", "/help", "/quit"]
    assert [row.split()[0] for row in terminal.lines[2:9]] == names
    assert f"  there is no command /modl; there are {', '.join(names)}" in terminal.lines


def test_the_model_is_changed_and_asked_for(line: TalkLine) -> None:
    with line.talk() as terminal:
        command(terminal, "/model", "echo-reasoning")
        command(terminal, "/model nix", "there is no model 'nix'; there are echo, echo-tools,")
        command(terminal, "/model echo-reasoning", "answers from now on")
        say(terminal, "hello there")
        command(terminal, "/model openai/nix", "openai/nix answers from now on")
        command(terminal, "hello", "404: no model 'openai/nix'; known: ")
        leave(terminal)

    assert "  upstream        answers now" in terminal.lines
    at = terminal.lines.index("you> hello there")
    assert terminal.lines[at + 1 : at + 3] == [
        "echo-reasoning> The caller said something. I will say the same.",
        "hello there",
    ]


def test_the_system_message_is_changed_and_taken_away(line: TalkLine, told: ToldUpstream) -> None:
    with line.talk("--system", "Be brief.") as terminal:
        command(terminal, "/system", "the model is told first: Be brief.")
        command(terminal, "/system Be polite.", "the model is told first: Be polite.")
        say(terminal, "Hello")
        command(terminal, "/system -", "the model is told nothing first")
        say(terminal, "Hello again")
        leave(terminal)

    first, second = (body["messages"] for body in told.bodies)
    assert first[0] == {"role": "system", "content": "Be polite."}
    assert [message["role"] for message in second] == ["user", "assistant", "user"]


def test_a_retry_asks_the_same_again(line: TalkLine, told: ToldUpstream) -> None:
    with line.talk() as terminal:
        command(terminal, "/retry", "nothing was asked yet; say something first")
        say(terminal, "Hello")
        say(terminal, "/retry")
        say(terminal, "Thanks")
        leave(terminal)

    assert told.bodies[0]["messages"] == told.bodies[1]["messages"]
    assert [message["role"] for message in told.bodies[2]["messages"]] == ["user", "assistant", "user"]


def test_a_tool_is_played_by_the_person(line: TalkLine, tmp_path: Path) -> None:
    mine = {"type": "function", "function": {"name": "tell_time", "parameters": {"type": "object", "properties": {}}}}
    file, broken = tmp_path / "tools.json", tmp_path / "broken.json"
    file.write_text(json.dumps([mine]))
    broken.write_text('{"name": "x"}')
    with line.talk("--model", "echo-tools") as terminal:
        command(terminal, "/tools", "tools on offer: none; /tools on offers examples, /tools FILE yours")
        command(terminal, "/tools on", "tools on offer: order_status, transfer_call; you type what they return")
        at_prompt(terminal)
        terminal.type("Where is it?" + ENTER)
        terminal.until("order_status returns>")
        terminal.type("on its way" + ENTER)
        terminal.until("echo-tools> on its way")
        command(terminal, f"/tools {broken}", f"{broken} is no JSON list of tools")
        command(terminal, f"/tools {tmp_path}/none.json", "none.json cannot be read: No such file or directory")
        command(terminal, f"/tools {file}", "tools on offer: tell_time")
        terminal.type("What time is it?" + ENTER)
        terminal.until("tell_time returns>")
        terminal.type(CTRL_C)
        terminal.until("the calls are dropped")
        command(terminal, "/tools off", "tools on offer: none")
        say(terminal, "Never mind")
        leave(terminal)

    screen = shown(terminal)
    at = screen.index("you> Where is it?")
    assert screen[at + 1] == "echo-tools>"
    assert re.fullmatch(r'  calls order_status\(\{"number":-?\d+\}\)', screen[at + 2])
    assert screen[at + 4] == "order_status returns> on its way"
    assert "  calls tell_time({})" in screen
    assert screen[-4:-2] == ["you> Never mind", "echo-tools> Never mind"]


def test_a_trace_is_a_tree_of_bars(line: TalkLine) -> None:
    with line.talk(*ECHO) as terminal:
        command(terminal, "/trace", "there was no turn yet; say something first")
        say(terminal, "hello there")
        command(terminal, "/trace", "outcome completed")
        leave(terminal)

    start = next(at for at, row in enumerate(shown(terminal)) if row == "  trace TRACE")
    picture = [re.split(r" {2,}(?=edge|worker)", row) for row in shown(terminal)[start + 1 : start + 8]]
    assert [name for name, _ in picture] == [
        "POST /v1/chat/completions",
        "├─ admit",
        "├─ send job.default",
        "│  └─ process job.default",
        "│     └─ chat echo",
        "├─ wait first_content",
        "└─ stream",
    ]
    assert [rest.split()[0] for _, rest in picture] == ["edge"] * 3 + ["worker"] * 2 + ["edge"] * 2
    assert all(rest.endswith("█") for _, rest in picture)


def test_where_spans_go_to_a_collector_the_trace_id_is_said(line: TalkLine) -> None:
    with line.talk(*ECHO, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318") as terminal:
        say(terminal, "hello there")
        command(terminal, "/trace", "spans go to http://127.0.0.1:4318; search for the trace there")
        leave(terminal)

    figures, said = (TRACE.search(row) for row in terminal.lines if TRACE.search(row))
    assert figures is not None
    assert said is not None
    assert figures[0] == said[0]


def test_after_a_failure_the_conversation_goes_on(line: TalkLine) -> None:
    with line.talk(*ECHO, "--metadata", "echo.fail=cut:2") as terminal:
        say(terminal, "one two three")
        say(terminal, "/retry")
        leave(terminal)

    screen = shown(terminal)
    assert screen[2] == "echo> one two"
    assert screen[3].startswith("  the answer broke off: ")
    assert screen[3].endswith("(upstream_error)")
    assert screen[4] == FIGURES
    assert screen[6:9] == screen[2:5]


def test_a_line_that_goes_away_ends_no_conversation(line: TalkLine) -> None:
    with told_upstream() as gone, line.talk("--url", gone.url) as terminal:
        at_prompt(terminal)
        terminal.type("Hello" + ENTER)
        terminal.until("told> Fine, thanks.")
        at_prompt(terminal)
        gone.stop()
        command(terminal, "Still there?", f"no line answers at {gone.url.removesuffix('/v1')}; start one with")
        leave(terminal)


def test_the_key_is_used_and_never_shown(line: TalkLine, tmp_path: Path) -> None:
    """One more edge of the same line, which wants keys."""
    with started("edge --port 0", tmp_path, TRUNKLINE_API_KEYS=f"me:{KEY}", **line.environ) as edge:
        url = ("--url", edge["url"])
        missing, wrong = line.once(*url, "hello"), line.once(*url, "hello", TRUNKLINE_API_KEYS="me:sk-wrong-4711")
        named = line.once(*url, *ECHO, "--key-env", "MY_KEY", "hello", MY_KEY=KEY)
        with line.talk(*url, *ECHO, TRUNKLINE_API_KEYS=f"me:{KEY}") as terminal:
            say(terminal, "hello")
            leave(terminal)
        with line.talk(*url) as refused:
            assert refused.exit_code() == 2

    assert (missing.returncode, wrong.returncode, named.returncode, named.stdout) == (2, 2, 0, "hello\n")
    for err in (missing.stderr, wrong.stderr, refused.text):
        assert re.search(r"trunkline: 401: .+; name the variable that holds the key with --key-env", err, re.DOTALL)
    assert "-4711" not in missing.stderr + wrong.stderr + named.stderr + terminal.typescript + refused.typescript


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_is_none_gets_plain_lines(line: TalkLine, told: ToldUpstream, term: str) -> None:
    with line.talk(TERM=term) as terminal:
        say(terminal, "Hello")
        told.words, told.endless = ["so ", "much "], True
        at_prompt(terminal)
        terminal.type("Tell me everything" + ENTER)
        terminal.until("upstream> so much so")
        terminal.type(ENTER)
        terminal.until(lambda: turns(terminal) == 2)
        terminal.type(CTRL_C)
        terminal.until("Ctrl-C once more")
        leave(terminal)

    assert "\x1b" not in terminal.typescript
    assert shown(terminal)[1:4] == ["you> Hello", "upstream> Fine, thanks.", FIGURES]
    assert INTERRUPTED in shown(terminal)


def test_what_steers_a_terminal_is_not_taken_from_a_model(line: TalkLine, told: ToldUpstream) -> None:
    told.words = ["\x1b]0;owned\x07\x1b[2J", "harmless\r\n", "text"]
    with line.talk() as terminal:
        say(terminal, "Hello")
        leave(terminal)

    assert "upstream> ]0;owned[2Jharmless" in terminal.lines
    assert "owned\x07" not in terminal.typescript


def test_earlier_lines_come_back_with_the_arrow_keys(line: TalkLine, told: ToldUpstream) -> None:
    with line.talk() as terminal:
        say(terminal, "Hello")
        say(terminal, f"{UP} again")
        leave(terminal)

    assert told.last_messages()[-1] == ("user", "Hello again")


def test_ctrl_c_leaves_only_when_it_comes_twice_in_a_row(line: TalkLine) -> None:
    with line.talk(*ECHO) as terminal:
        at_prompt(terminal)
        terminal.type(f"never mind{CTRL_C}")
        terminal.until("Ctrl-C once more")
        say(terminal, "hello")
        terminal.type(CTRL_C)
        terminal.until(lambda: terminal.text.count("Ctrl-C once more") == 2)
        at_prompt(terminal)
        terminal.type(CTRL_C)
        assert terminal.exit_code() == 0


@pytest.mark.parametrize("answering", [False, True])
def test_whatever_ends_it_the_terminal_is_as_it_was(line: TalkLine, answering: bool) -> None:
    with line.talk(*SLOW) as terminal:
        before = terminal.modes()
        at_prompt(terminal)
        during = terminal.modes()
        if answering:
            terminal.type(LONG + ENTER)
            terminal.until("echo> one two")
        terminal.send(signal.SIGTERM)
        code = terminal.exit_code()
        after = terminal.modes()

    assert code == 0
    assert "Traceback" not in terminal.text
    assert after == before != during


def test_json_is_for_one_message(line: TalkLine) -> None:
    with line.talk("--json") as terminal:
        assert terminal.exit_code() == 2

    assert terminal.text == 'trunkline: --json goes with one message: trunkline talk --json "hello"'
