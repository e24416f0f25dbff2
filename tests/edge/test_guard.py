"""What the edge says while no content comes, and when."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.guard import Guard, bare, fillers_of, guard_for, wording
from protocol.messages import Job, Message, Tool
from protocol.settings_profiles import Profile

THREE = ("One moment", "Let me see", "Just a second")
PROFILE = Profile(guard=("filler",), guard_s=3.0, again_s=2.0, fillers={"en": THREE}, fillers_per_turn=5)


def guard(profile: Profile = PROFILE, fillers: tuple[str, ...] = THREE, first: int = 0) -> Guard:
    return Guard(profile, fillers, first=first, began=100.0)


def all_of(made: Guard, most: int = 10) -> list[str]:
    """All that it says, each at its time."""
    said = []
    for _ in range(most):
        now = made.due_at
        if (next_ := made.next(now)) is None:
            break
        said.append(next_.text)
    return said


def job(*, turns: int = 1, tools: tuple[Tool, ...] = (), language: str | None = None) -> Job:
    messages = (Message("user", "hello"),) * turns
    return Job(id="t", model="m", messages=messages, budget_ms=1, total_ms=1, tools=tools, language=language)


def test_it_speaks_at_its_time_and_then_again_and_again_until_its_fillers_are_used_up() -> None:
    made = guard(replace(PROFILE, fillers_per_turn=2))
    assert made.due_at == 103.0

    assert made.next(103.5) == ("One moment... ", "One moment")
    assert made.due_at == 105.5, "from what was said, not from when it was due"
    assert made.next(105.5) == ("Let me see... ", "Let me see")
    assert made.next(107.5) is None
    assert made.due_at == math.inf


def test_a_space_comes_first_where_the_profile_says_so() -> None:
    assert all_of(guard(replace(PROFILE, guard=("space", "filler"), fillers_per_turn=2))) == [
        " ",
        "One moment... ",
        "Let me see... ",
    ]


def test_without_a_filler_left_a_space_is_said_where_nothing_was() -> None:
    none_left = guard()
    none_left.know(fillers=12, last_filler="One moment... ")

    assert all_of(none_left) == [" "]
    assert all_of(guard(fillers=())) == [" "]
    assert all_of(guard(replace(PROFILE, guard=("space", "filler")), fillers=())) == [" "]


def test_spaces_go_on_where_the_profile_has_nothing_else() -> None:
    assert all_of(guard(replace(PROFILE, guard=("space",))), most=3) == [" ", " ", " "]


def test_a_call_has_only_so_many_fillers() -> None:
    made = guard(replace(PROFILE, fillers_per_call=3))
    made.know(fillers=2, last_filler="Just a second... ")

    assert all_of(made) == ["One moment... "]


def test_the_rotation_goes_on_from_the_last_turn() -> None:
    made = guard()
    made.know(fillers=4, last_filler="One moment... ")

    assert all_of(made)[:3] == ["Let me see... ", "Just a second... ", "One moment... "]


def test_the_call_may_become_known_after_something_was_said() -> None:
    made = guard(replace(PROFILE, fillers_per_call=6))
    said = made.next(103.0)
    made.know(fillers=4, last_filler="One moment... ")

    assert said == ("One moment... ", "One moment")
    assert all_of(made) == ["Let me see... "], "the sixth of the call"


def test_in_a_call_that_is_not_known_each_turn_begins_with_another_filler() -> None:
    profile = replace(PROFILE, fillers_per_turn=2)
    begun = [guard_for(profile, job(turns=turn), began=0.0, speaks=True) for turn in range(1, 4)]

    assert {made.next(3.0) for made in begun if made is not None} == {(f"{filler}... ", filler) for filler in THREE}


def test_in_a_call_that_is_not_known_no_turn_begins_with_the_filler_that_the_one_before_ended_with() -> None:
    profile = replace(PROFILE, fillers_per_turn=2)
    begun = [guard_for(profile, job(turns=turn), began=0.0, speaks=True) for turn in range(1, 7)]

    said = [filler for made in begun if made is not None for filler in all_of(made)]

    assert len(said) == 12
    assert all(one != next_ for one, next_ in pairwise(said))


def test_a_filler_of_another_language_begins_the_rotation_anew() -> None:
    made = guard(first=1)
    made.know(fillers=1, last_filler="Un momento... ")

    assert made.next(103.0) == ("Let me see... ", "Let me see")


def test_one_filler_alone_is_said_once_a_turn() -> None:
    made = guard(fillers=("One moment",))
    made.know(fillers=1, last_filler="One moment... ")

    assert all_of(made) == ["One moment... "]


@pytest.mark.parametrize("written", ["One moment", "One moment...", "One moment… ", "One moment... ", "One moment."])
@pytest.mark.parametrize(("flush", "spoken"), [(False, "One moment... "), (True, "One moment...<flush /> ")])
def test_a_filler_ends_in_an_ellipsis_and_a_space_however_it_is_written(written: str, flush: bool, spoken: str) -> None:
    assert wording(written, flush=flush) == spoken
    assert wording(spoken, flush=flush) == spoken
    assert bare(spoken) == "One moment"


def test_fillers_are_those_of_the_calls_language_and_of_no_other() -> None:
    profile = replace(PROFILE, fillers={"en": ("One",), "de": ("Eins", "Eins..."), "pt": ("Um",)}, language="de")

    assert fillers_of(profile, "pt-BR") == ("Um",)
    assert [bare(filler) for filler in fillers_of(profile, "de-AT")] == ["Eins"], "the same one twice is one"
    assert fillers_of(profile, "fi") == ()


def test_in_a_language_that_has_no_fillers_a_space_is_said_and_no_foreign_word() -> None:
    guards = [guard_for(PROFILE, job(language=language), began=0.0, speaks=True) for language in ("fi", None)]

    assert [made and all_of(made)[0] for made in guards] == [" ", "Just a second... "]


def test_before_json_there_may_be_a_space_and_never_a_filler() -> None:
    made = guard_for(PROFILE, job(), began=0.0, speaks=False)

    assert made is not None
    assert all_of(made) == [" "]


def test_beside_tools_the_profile_may_have_no_fillers() -> None:
    tools = (Tool("look_up"),)
    quiet = replace(PROFILE, fillers_beside_tools=False)

    said = []
    for profile, offered in ((quiet, tools), (quiet, ()), (PROFILE, tools)):
        made = guard_for(profile, job(tools=offered), began=0.0, speaks=True)
        assert made is not None
        said.append(made.next(3.0))

    assert [one and one.filler for one in said] == ["", "Just a second", "Just a second"]


def test_a_profile_without_a_guard_has_none() -> None:
    assert guard_for(Profile(), job(), began=0.0, speaks=True) is None


fillers = st.lists(st.sampled_from(["a", "b", "c", "d", "a..."]), max_size=5, unique=True)
guards = st.lists(st.sampled_from(["space", "filler"]), min_size=1, max_size=3)


@given(
    guards,
    fillers,
    st.integers(0, 4),
    st.integers(0, 6),
    st.integers(0, 9),
    st.none() | st.tuples(st.integers(0, 3), st.integers(0, 8), st.sampled_from(["", "a... ", "b... ", "z... "])),
)
def test_whatever_is_known_and_when_no_bound_is_passed_and_nothing_is_said_twice_in_a_row(
    guard_: list[str], given_: list[str], per_turn: int, per_call: int, first: int, known: tuple[int, int, str] | None
) -> None:
    profile = Profile(
        guard=tuple(guard_),  # type: ignore[arg-type]
        fillers={"en": tuple(given_)},
        fillers_per_turn=per_turn,
        fillers_per_call=per_call,
    )
    made = Guard(profile, fillers_of(profile, "en"), first=first, began=0.0)
    said = []
    for at in range(8):
        if known is not None and at == known[0]:
            made.know(fillers=known[1], last_filler=known[2])
        if (one := made.next(made.due_at)) is None:
            break
        said.append(one)

    spoken = [bare(one.filler) for one in said if one.filler]
    assert said, "something is said, if only a space"
    assert len(spoken) <= min(per_turn, per_call)
    assert all(one.text == " " or one.text == f"{bare(one.filler)}... " for one in said)
    assert all(a != b for a, b in pairwise(spoken))
    if known is not None and known[0] == 0 and len(set(map(bare, given_))) > 1:
        assert spoken[:1] != [bare(known[2])]
        assert not spoken or len(spoken) + known[1] <= per_call
