"""What is wrong with a turn: with what was heard, what was asked, how connections ended, and what was billed. Pure."""

from collections.abc import Iterator

from protocol.messages import Attempt, Usage
from tests.faults.faults import BLACK_HOLE, FAULTS, NOWHERE, REFUSALS, Heard
from tests.faults.line import INPUT_PRICE, OUTPUT_PRICE, target_name
from tests.faults.turns import Result, ends_well
from tests.faults.voices import PROMPT_TOKENS, WORDS

MILLION = 1_000_000
ENDLESS = "endless"
FREE = {*REFUSALS, NOWHERE, BLACK_HOLE}


def wrong(result: Result) -> list[str]:
    """Everything; nothing is as it should be."""
    return [*_heard(result), *_asked(result), *_billed(result)]


def _heard(result: Result) -> Iterator[str]:
    got, wanted = result.outcome.heard, result.scenario.outcome.heard
    if not _same(result.scenario.fault, got, wanted):
        yield f"heard {_cut(got)}, not {_cut(wanted)}"
    if not ends_well(result.answer):
        yield f"ended with {result.answer.end.value}, done {result.answer.done}, error {result.answer.error}"


def _same(fault: str, got: Heard, wanted: Heard) -> bool:
    """How far an endless answer comes is nobody's to say: that it begins so."""
    if fault != ENDLESS:
        return got == wanted
    return got.text.startswith(wanted.text) and (got.status, got.code) == (wanted.status, wanted.code)


def _cut(heard: Heard) -> str:
    text = repr(heard)
    return text if len(text) < 300 else f"{text[:100]}…{text[-150:]}"


def _asked(result: Result) -> Iterator[str]:
    got, wanted = result.outcome.asked, result.scenario.outcome.asked
    if FAULTS[result.scenario.fault].act is None:
        wanted = (0, *wanted[1:])  # nobody was there to count it
    if got != wanted:
        yield f"asked {got}, not {wanted}"


def _billed(result: Result) -> Iterator[str]:
    """One attempt for each request; what an upstream told is what is billed; the turn costs what all of them cost."""
    record, attempts = result.record, result.attempts
    if record is None:
        yield "no turn record"
        return
    names = [target_name(result.scenario, fault) for fault, _ in result.scenario.targets]
    tried = [attempt.target for attempt in attempts if attempt.outcome != "skipped"]
    wanted = [name for name, count in zip(names, result.scenario.outcome.asked, strict=True) for _ in range(count)]
    if tried != wanted:
        yield f"attempts at {tried}, not {wanted}"
    for attempt in attempts:
        usage = attempt.usage
        price = (usage.prompt * INPUT_PRICE + usage.completion * OUTPUT_PRICE) / MILLION
        if attempt.cost is None or abs(attempt.cost - price) > 1e-9:
            yield f"{attempt.target} cost {attempt.cost}, not {price}"
        if result.scenario.fault in FREE and attempt.outcome != "answered" and usage != Usage():
            yield f"{attempt.target} billed {usage}, though it refused or was not there"
        told = _told(result, attempt)
        if told is not None and (usage.prompt, usage.completion, usage.estimated) != (PROMPT_TOKENS, told, False):
            yield f"{attempt.target} billed {usage}, not the {told} tokens that it told"
    spent = sum(attempt.cost or 0 for attempt in attempts)
    if record.cost is None or abs(record.cost - spent) > 1e-9:
        yield f"the turn cost {record.cost}, its attempts {spent}"


def _told(result: Result, attempt: Attempt) -> int | None:
    """The tokens that a target said its answer cost; None: it did not, or only at a second request."""
    scenario = result.scenario
    if attempt.target == target_name(scenario, scenario.fault):
        return scenario.told.told
    return len(WORDS) if scenario.way == "next" else None  # what goes on has less to say
