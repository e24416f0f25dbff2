"""How the figures of `trunkline top` are laid out: on terminals of any size, and as plain text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from protocol.messages import Outcome
from trunkline.top import view
from trunkline.top.figures import EdgeRow, ErrorRow, Figures, ModelRow, Spread, WorkerRow, WorkerState
from trunkline.top.seen import OUTCOMES
from trunkline.top.tables import milliseconds

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
EVIL = "openai/\x1b[2J\x9b\a\r\n[red]" + "x" * 300


def worker(worker_id: str, state: WorkerState = "up", busy: int = 3) -> WorkerRow:
    return WorkerRow(
        id=worker_id,
        state=state,
        pools=("default",),
        models=("echo", "echo-tools"),
        slots=256,
        busy=busy,
        heard_s=0.4,
        config="c",
    )


def error(trace_id: str, *, model: str = "echo", outcome: Outcome = "deadline") -> ErrorRow:
    return ErrorRow(turn="turn", outcome=outcome, error="upstream_timeout", model=model, trace_id=trace_id, ended_at=AT)


def some(**more: Any) -> Figures:
    """A line with two workers, an edge, a model and an error."""
    outcomes = dict.fromkeys(OUTCOMES, 0) | {"completed": 9, "interrupted": 2, "deadline": 1}
    figures = Figures(
        at=AT,
        nats="127.0.0.1:4222",
        away_s=None,
        listening=False,
        window_s=60.0,
        turns=12,
        turns_per_s=1.25,
        tokens_per_s=80.4,
        rate_s=10.0,
        live=6,
        slots=512,
        queued={"default": 2},
        first_content=Spread(12, 101.2, 2030.0),
        cancel=Spread(2, 3.14, 9.96),
        outcomes=outcomes,
        workers=(worker("first"), worker("second")),
        edges=(EdgeRow(url="http://127.0.0.1:9090", state="ready", live=6, waiting=2, turns=1234),),
        models=(ModelRow(name="echo", turns=12, failed=1, first_content=Spread(12, 101.2, 2030.0)),),
        errors=(error("4bf92f3577b34da6a3ce929d0e0e4736"),),
    )
    return replace(figures, **more)


def drawn(figures: Figures, width: int, height: int, **how: bool) -> list[str]:
    """The lines of a screen, as a terminal without colours shows them."""
    console = Console(file=StringIO(), width=width, height=height, color_system=None, force_terminal=True)
    with console.capture() as captured:
        console.print(view.screen(figures, width=width, height=height, **how))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_an_open_breaker_is_shown_with_the_workers_that_pass_its_target_over() -> None:
    first, second = worker("first"), worker("second")
    open_ones = (replace(first, open=("gpt", EVIL[:12])), replace(second, open=("gpt",)))
    silent = (*open_ones, replace(first, id="third", state="silent", open=("gpt",)))

    wide, small = drawn(some(workers=silent), 120, 30), drawn(some(workers=silent), 40, 12)

    assert any("open breakers gpt (2), openai/?[2J? (1)" in line for line in wide)
    assert any("open breakers gpt (2)" in line for line in small)
    assert "open breakers gpt (2)" in view.text(some(workers=silent))
    assert not any("open breakers" in line for line in drawn(some(), 120, 30))


def test_a_usual_terminal_shows_everything() -> None:
    lines = drawn(some(), 80, 24)

    assert lines == [
        "Trunkline  03:04:05   q quit   p pause   h help   127.0.0.1:4222",
        "live 6/512   queued 2   turns/s 1.2   tokens/s 80",
        "first content p50 101 ms  p95 2030 ms   cancel p50 3.1 ms  p95 10 ms",
        "turns 12 in 60 s   completed 9   interrupted 2   deadline 1",
        "",
        "WORKERS 2  state   busy  load        heard  pools    models",
        "first      up     3/256                0 s  default  echo, echo-tools",
        "second     up     3/256                0 s  default  echo, echo-tools",
        "",
        "LAST ERRORS  outcome   model                    trace",
        "02 Jan       deadline  echo                     4bf92f3577b34da6a3ce929d0e0e4736",
        "",
        "EDGES 1                state  live  waiting  turns",
        "http://127.0.0.1:9090  ready     6        2   1234",
        "",
        "MODELS 1  turns  failed     p50      p95",
        "echo         12       1  101 ms  2030 ms",
    ]


def test_a_small_terminal_shows_the_head_of_everything() -> None:
    figures = some(workers=tuple(worker(f"worker-{n}") for n in range(9)))

    assert drawn(figures, 40, 10) == [
        "Trunkline  03:04:05   q quit   p pause …",
        "live 6/512   queued 2   turns/s 1.2",
        "first content p50 101 ms  p95 2030 ms",
        "failed 1/12",
        "WORKERS 9  state   busy",
        "worker-0   up     3/256",
        "LAST ERRORS  outcome   model",
        "02 Jan       deadline  echo",
        "EDGES 1                state  live",
        "http://127.0.0.1:9090  ready     6",
    ]


def test_rows_that_find_no_room_are_counted() -> None:
    figures = some(workers=tuple(worker(f"worker-{n}") for n in range(99)), edges=(), models=())

    lines = drawn(figures, 80, 24)

    assert len(lines) == 24
    assert lines[5].startswith("WORKERS 99 ")
    shown = [line for line in lines if line.startswith("worker-")]
    assert f"{99 - len(shown)} more" in lines


@pytest.mark.parametrize("figures", [some(), some(workers=(), errors=(), edges=(), models=(), turns=0)])
@pytest.mark.parametrize("how", [{}, {"paused": True}, {"helping": True}])
def test_no_size_breaks_it(figures: Figures, how: dict[str, bool]) -> None:
    """Lines that would not fit are cut, never wrapped: a wrapped one pushes the others off the screen."""
    evil = replace(
        figures, nats=EVIL, away_s=3.0, models=(ModelRow(name=EVIL, turns=1, failed=0, first_content=Spread()),)
    )
    for shown in (figures, evil):
        for width in (1, 2, 3, 9, 17, 28, 39, 40, 49, 50, 59, 60, 69, 70, 75, 76, 80, 99, 100, 300):
            for height in (1, 2, 5, 10, 19, 20, 100):
                lines = drawn(shown, width, height, **how)
                assert max(Text(line).cell_len for line in lines) <= width
                assert len(lines) <= max(height, 11) or how.get("helping")


@pytest.mark.parametrize(
    ("room", "wants", "expected"),
    [
        (0, [3, 3], [0, 0]),
        (1, [3, 3], [0, 0]),
        (1, [3, 1], [0, 1]),
        (2, [3, 3], [2, 0]),
        (4, [3, 3], [2, 2]),
        (5, [3, 3], [3, 2]),
        (6, [3, 3], [3, 3]),
        (99, [3, 1, 3], [3, 1, 3]),
        (10, [9, 1, 9], [5, 1, 4]),
        (10, [9, 3, 3], [4, 3, 3]),
        (-4, [3, 3], [0, 0]),
    ],
)
def test_sections_share_the_room(room: int, wants: Sequence[int], expected: list[int]) -> None:
    assert view.shares(room, wants) == expected


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (30, ["live 1   queued 22   turns 333"]),
        (29, ["live 1   queued 22", "turns 333"]),
        (17, ["live 1", "queued 22", "turns 333"]),
        (1, ["live 1", "queued 22", "turns 333"]),
    ],
)
def test_figures_are_packed_and_never_broken(width: int, expected: list[str]) -> None:
    lines = view.packed([Text("live 1"), Text("queued 22"), Text("turns 333")], width)

    assert [line.plain for line in lines] == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0.0, "0.0 ms"), (9.94, "9.9 ms"), (9.96, "10 ms"), (312.4, "312 ms"), (12_345.0, "12.3 s")],
)
def test_times_are_read_at_a_glance(value: float | None, said: str) -> None:
    assert milliseconds(value) == said


@pytest.mark.parametrize(
    ("queued", "said"),
    [(None, "queued -"), ({}, "queued 0"), ({"a": 3}, "queued 3"), ({"a": 3, "b": 0, "c": 1}, "queued 4 (a:3 c:1)")],
)
def test_the_queue_says_which_pool_where_there_are_several(queued: dict[str, int] | None, said: str) -> None:
    assert said in drawn(some(queued=queued), 80, 24)[1]


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (some(away_s=12.3), "NATS is away for 12 s; the figures are from before"),
        (some(workers=(), listening=True), "WORKERS 0  listening"),
        (some(workers=()), "WORKERS 0  none is heard; start one with `trunkline worker`"),
        (some(workers=(worker("gone", "silent"),)), "gone       silent"),
        (some(errors=()), "LAST ERRORS  none"),
        (some(edges=(EdgeRow(url="http://h:1", state="unreachable"),)), "unreachable     -"),
    ],
)
def test_what_is_wrong_or_missing_is_said(figures: Figures, words: str) -> None:
    assert words in "\n".join(drawn(figures, 80, 24))
    assert words.replace("     -", "") in view.text(figures)


def test_what_a_caller_wrote_moves_no_cursor() -> None:
    """A model's name is a caller's text."""
    figures = some(
        nats=EVIL,
        workers=(worker(EVIL),),
        errors=(error(EVIL, model=EVIL),),
        models=(ModelRow(name=EVIL, turns=1, failed=0, first_content=Spread()),),
        queued={EVIL: 1, "b": 1},
    )

    for text in (view.text(figures), "\n".join(drawn(figures, 120, 40))):
        assert all(char.isprintable() or char == "\n" for char in text)
        assert "openai/?[2J????" in text


def test_plain_text_has_every_row_in_full() -> None:
    many = tuple(error(f"{number:032x}", model="m" * 90) for number in range(50))

    text = view.text(some(errors=many))

    assert text.startswith("Trunkline  2030-01-02 03:04:05  127.0.0.1:4222\nlive 6/512   queued 2   turns/s 1.2")
    assert text.count("m" * 90) == 50
    assert "upstream_timeout" in text
    assert "\x1b" not in text
    assert "more" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
