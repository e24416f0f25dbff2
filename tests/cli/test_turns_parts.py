"""`trunkline turns`: which records are wanted, how one looks, what many come to."""

import csv
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from protocol import codec
from protocol.messages import Attempt, Heard, TurnRecord, Usage, Withheld
from protocol.settings import SettingsError
from trunkline.turns import forms
from trunkline.turns.summary import Tally, money, sentence
from trunkline.turns.wanted import Wanted, duration_s, since

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FAST = TurnRecord(
    id="turn_1", tenant="acme", model="front-desk", outcome="completed", started_at="2026-03-01T11:59:00.000+00:00",
    call_id="call-7", trace_id="a" * 32, worker="w1", target="claude", offers=1, finish_reason="stop", queue_ms=1.5,
    ttft_ms=350.0, overhead_ms=2.0, total_ms=1200.0, usage=Usage(100, 20, cached=40, reasoning=5), cost=0.0123,
    attempts=(Attempt("gpt", "upstream_timeout"), Attempt("claude", "answered", usage=Usage(100, 20, cached=40))),
)  # fmt: skip
SHED = TurnRecord(
    id="turn_2", tenant="me", profile="vapi", model="echo", outcome="shed", started_at="2026-03-01T11:59:30.000+00:00",
    error="overloaded", total_ms=8000.0, usage=Usage(7, 0, estimated=True),
)  # fmt: skip
HEARD = Heard(
    amends="turn_4", by="turn_5", tenant="acme", call_id="call-7", said_chars=90, heard_chars=40, said_words=31,
    heard_words=12,
)  # fmt: skip
CUT = replace(
    FAST, id="turn_4", outcome="interrupted", profile="vapi", language="de", spoken_by_edge=("Einen Moment... ",),
    withheld=(Withheld("end_call", "too_early"), Withheld("book", "invalid")), leaked=2, unheard=1, unheard_cost=0.25,
    heard=HEARD,
)  # fmt: skip
BARGED = replace(FAST, id="turn_3", outcome="interrupted", ttft_ms=900.0, attempts=(), cost=None)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), ["turn_1", "turn_2", "turn_3"]),
        (Wanted(outcomes=("shed", "completed")), ["turn_1", "turn_2"]),
        (Wanted(errors=True), ["turn_2"]),
        (Wanted(model="echo"), ["turn_2"]),
        (Wanted(tenant="acme", outcomes=("interrupted",)), ["turn_3"]),
        (Wanted(profile="vapi"), ["turn_2"]),
        (Wanted(call="call-7"), ["turn_1", "turn_3"]),
        (Wanted(target="claude"), ["turn_1", "turn_3"]),
        (Wanted(target="gpt"), ["turn_1"]),
        (Wanted(slower_than_s=0.35), ["turn_2", "turn_3"]),
        (Wanted(slower_than_s=8), []),
    ],
)
def test_what_is_wanted(wanted: Wanted, expected: list[str]) -> None:
    """A turn that came to no content was slow for as long as it lasted."""
    assert [record.id for record in (FAST, SHED, BARGED) if wanted(record)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", NOW - timedelta(minutes=10)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        (" 30s ", NOW - timedelta(seconds=30)),
        ("2026-03-01T08:00:00Z", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01T08:00:00+02:00", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_since_is_so_long_ago_or_a_time(text: str, expected: datetime) -> None:
    assert since(text).at(NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "10", "-5m", "10 minutes", "99999d", "", "2026-13-01"])
def test_what_is_neither_is_refused_with_a_cure(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--since .*give one such as"):
        since(text)


@pytest.mark.parametrize(("text", "expected"), [("800ms", 0.8), ("1.5s", 1.5), ("2m", 120.0)])
def test_durations(text: str, expected: float) -> None:
    assert duration_s(text, flag="--slower-than") == pytest.approx(expected)


def test_a_number_without_a_unit_is_no_duration() -> None:
    with pytest.raises(SettingsError, match="--slower-than '3' is no duration"):
        duration_s("3", flag="--slower-than")


@pytest.mark.parametrize("width", range(40, 241, 20))
def test_a_line_fits_into_a_terminal_of_every_width(width: int) -> None:
    columns = forms.columns_for(width)
    long = replace(FAST, model="m" * 300, outcome="upstream_error", error="e" * 300, call_id="電話" * 100)

    lines = [forms.heading(columns), forms.row(long, columns, cut=True)]

    assert [line.cell_len <= width for line in lines] == [True, True]


def test_the_widest_table_has_everything_and_cuts_nothing_that_is_usual() -> None:
    line = forms.row(FAST, forms.columns_for(240), cut=True).plain

    words = ("completed", "350 ms", "1200 ms", "front-desk", "100+20", "claude (2)", "0.0123", "call-7", "a" * 32)
    assert [word for word in words if word not in line] == []


def test_the_widest_table_says_what_was_heard_and_for_whom_it_was() -> None:
    line = forms.row(CUT, forms.columns_for(240), cut=True).plain

    assert "12 of 31" in line
    assert line.endswith("vapi")


def test_tokens_that_were_counted_here_are_marked() -> None:
    assert "~7+0" in forms.row(SHED, forms.columns_for(None), cut=False).plain


def test_a_callers_text_moves_no_cursor() -> None:
    line = forms.row(replace(FAST, model="\x1b[2J\n"), forms.columns_for(None), cut=False).plain

    assert "?[2J?" in line


def test_a_time_that_is_none_is_a_dash() -> None:
    assert forms.row(replace(FAST, started_at="soon"), forms.columns_for(None), cut=False).plain.startswith("- ")


def test_json_is_the_record_as_it_is_kept() -> None:
    assert codec.decode_record(forms.json_line(FAST).encode()) == FAST


def test_a_spreadsheet_gets_one_cell_for_each_field() -> None:
    rows = list(csv.DictReader([forms.csv_heading(), forms.csv_line(FAST), forms.csv_line(SHED)]))

    assert rows[0]["tried"] == "gpt:upstream_timeout claude:answered"
    assert (rows[0]["prompt_tokens"], rows[0]["cached_tokens"], rows[0]["cost"]) == ("100", "40", "0.0123")
    assert (rows[1]["error"], rows[1]["cost"], rows[1]["target"], rows[1]["estimated"]) == (
        "overloaded",
        "",
        "",
        "True",
    )


def test_a_spreadsheet_gets_what_the_voice_turn_was() -> None:
    (row,) = csv.DictReader([forms.csv_heading(), forms.csv_line(CUT)])

    assert (row["profile"], row["language"], row["spoken_by_edge"]) == ("vapi", "de", "1")
    assert (row["withheld"], row["leaked"]) == ("end_call:too_early book:invalid", "2")
    assert (row["unheard_tokens"], row["unheard_cost"], row["said_words"], row["heard_words"]) == (
        "1",
        "0.25",
        "31",
        "12",
    )


@pytest.mark.parametrize("model", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_a_callers_text_is_no_formula(model: str) -> None:
    (found,) = csv.DictReader([forms.csv_heading(), forms.csv_line(replace(FAST, model=model))])

    assert found["model"] == f"'{model}"


def test_totals() -> None:
    tally = Tally()
    tally.add([FAST, SHED])
    tally.add([BARGED])

    summary = tally.summary()

    assert (summary.turns, summary.outcomes) == (3, {"completed": 1, "shed": 1, "interrupted": 1})
    assert (summary.first_content.p50_ms, summary.first_content.p95_ms) == (350.0, 900.0)
    assert sentence(summary) == (
        "3 turns: 1 completed, 1 shed, 1 interrupted; first content p50 350 ms, p95 900 ms; "
        "tokens 207 in (80 cached), 40 out (of 1 estimated); cost 0.0123"
    )


def test_tokens_of_targets_that_did_not_answer_were_spent_too() -> None:
    tally = Tally()
    outrun = Attempt("gpt", "outrun", usage=Usage(100, 0, estimated=True))
    tally.add([replace(FAST, attempts=(*FAST.attempts, outrun))])

    assert "tokens 200 in (40 cached), 20 out (of 1 estimated)" in sentence(tally.summary())


def test_what_callers_did_not_hear_is_a_total_too() -> None:
    tally = Tally()
    tally.add(
        [CUT, replace(CUT, unheard=3, unheard_cost=None), replace(CUT, unheard=None, unheard_cost=None, heard=None)]
    )

    summary = tally.summary()

    assert (summary.unheard_tokens, summary.unheard_cost) == (4, 0.25)
    assert (summary.cut, summary.heard_words, summary.said_words) == (2, 24, 62)
    assert sentence(summary).endswith(
        "; 4 tokens for callers who had left (cost 0.2500); 24 of 62 words heard in 2 cut"
    )


def test_the_total_of_nothing() -> None:
    assert sentence(Tally().summary()) == "0 turns; first content p50 -, p95 -; tokens 0 in, 0 out"


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.0, "0.0000"),
        (0.0000123, "0.000012"),
        (0.0045, "0.0045"),
        (2e-9, "<0.000001"),
        (0.0123, "0.0123"),
        (1.5, "1.5000"),
        (1234.5, "1234.50"),
    ],
)
def test_money_keeps_the_digits_of_small_sums(cost: float, expected: str) -> None:
    assert money(cost) == expected
