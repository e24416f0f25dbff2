"""Thought apart from speech, by a table that is read whole, in pieces and one character at a time."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.targets.thinking import MAX_SPACE, Thinking

# content -> what is thought, what is said
OUTSIDE: dict[str, tuple[str, str]] = {
    "": ("", ""),
    "Hello.": ("", "Hello."),
    " \n Hello. ": ("", " \n Hello. "),
    "<think>hm</think>Hello.": ("hm", "Hello."),
    "<think>\nhm\n</think>\n\nHello.\n": ("hm\n", "Hello.\n"),
    "<thinking>hm</thinking> Hello.": ("hm", "Hello."),
    "\n\n<think>hm</think>Hello.": ("hm", "Hello."),
    "<think>\n\n</think>\n\nHello.": ("", "Hello."),  # Qwen3, told not to think
    "</think>\n\nHello.": ("", "Hello."),  # the block was opened in the prompt, and nothing was thought
    "<think>a</think>\n<think>b</think>Hello.": ("ab", "Hello."),
    "<think>a<think>b</think>Hello.": ("a<think>b", "Hello."),
    "<think>a < b, a</b, </thin</think>Hello.": ("a < b, a</b, </thin", "Hello."),
    "<think>hm</think>": ("hm", ""),
    "<think>hm</think>\n\n": ("hm", ""),
    "<think>hm": ("hm", ""),
    "<think>hm</thi": ("hm</thi", ""),
    "<think>": ("", ""),
    "<thi": ("", "<thi"),
    "<thinker>hm": ("", "<thinker>hm"),
    "<b>Hello.</b>": ("", "<b>Hello.</b>"),
    "<think>hm</think><b>Hello.</b>": ("hm", "<b>Hello.</b>"),
    "<think>hm</think><": ("hm", "<"),
    "Say <think> or </think>.": (" or ", "Say ."),
    "<think>hm</think>Say <think>.": ("hm.", "Say "),
    "Hello.<think>hm</think>": ("hm", "Hello."),
    "Well. <think>a</think>Hello.<thinking>b</thinking> Bye.": ("ab", "Well. Hello. Bye."),
    "a < b <think> c </b> </thin</think>d": (" c </b> </thin", "a < b d"),
    "Hello.</think> Bye.": ("", "Hello. Bye."),
    "Hello.<think>a<think>b</think>c": ("a<think>b", "Hello.c"),
    "Hello.<thi": ("", "Hello.<thi"),
    "<THINK>hm</Think>Hello.": ("hm", "Hello."),
    "<think >hm</thinking\n >Hello.": ("hm", "Hello."),
    "Well. <Think  >hm</THINK\t> Hello.": ("hm", "Well.  Hello."),
    "Hello.<think ": ("", "Hello.<think "),
    "<think" + " " * 9 + ">hm": ("", "<think" + " " * 9 + ">hm"),
    "< think>hm<thin k>": ("", "< think>hm<thin k>"),
    "<think>a<think>b</think>c</think>d": ("a<think>b", "cd"),  # a block's first end ends it
    "Hello.<think>hm</thi": ("hm</thi", "Hello."),
    " " * MAX_SPACE + "<think>hm</think>a": ("hm", "a"),
    " " * (MAX_SPACE + 1) + "<think>hm": ("hm", " " * (MAX_SPACE + 1)),
    "<think>" + " " * 200 + "hm</think>" + "\n" * 200 + "a": ("hm", "a"),
}
INSIDE: dict[str, tuple[str, str]] = {
    "\nhm</think>\n\nHello.": ("hm", "Hello."),
    "hm</thinking>Hello.": ("hm", "Hello."),
    "<think>hm</think>Hello.": ("hm", "Hello."),  # the model opens it once more
    "</think>Hello.": ("", "Hello."),
    "hm</think><think>hm</think>Hello.": ("hmhm", "Hello."),
    "hm": ("hm", ""),
    "<b>hm</think>": ("<b>hm", ""),
    " <thi": ("<thi", ""),
    "hm</think>Say </think>.": ("hm", "Say ."),
}
CASES = [(*case, inside) for table, inside in ((OUTSIDE, False), (INSIDE, True)) for case in table.items()]


DATA: dict[str, tuple[str, str]] = {
    '{"a": "<think>x</think>"}': ("", '{"a": "<think>x</think>"}'),
    '<think>hm</think>\n{"a": "<think>"}': ("hm", '{"a": "<think>"}'),
    '["</think>", "<thi"]': ("", '["</think>", "<thi"]'),
    "7 <think": ("", "7 <think"),
}


def told(pieces: list[str], *, inside: bool = False, is_data: bool = False) -> tuple[str, str]:
    """All that is thought, all that is said."""
    thinking = Thinking(inside=inside, is_data=is_data)
    parts = [*(thinking.push(piece) for piece in pieces), thinking.flush()]
    return "".join(thought for thought, _ in parts), "".join(said for _, said in parts)


def in_pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize(("content", "expected", "inside"), CASES)
def test_thought_and_speech_are_told_apart_at_any_split(content: str, expected: tuple[str, str], inside: bool) -> None:
    assert told([content], inside=inside) == expected
    for size in (1, 2, 3, 5, 7):
        assert told(in_pieces(content, size), inside=inside) == expected


@pytest.mark.parametrize(("content", "expected"), DATA.items())
def test_in_data_a_tag_after_the_beginning_is_a_part_of_it(content: str, expected: tuple[str, str]) -> None:
    for size in (1, 2, 3, 5, 7, len(content)):
        assert told(in_pieces(content, size), is_data=True) == expected


PARTS = st.sampled_from(
    (
        "<THINK >",
        "</Think\n>",
        "<think>",
        "</think>",
        "<thinking>",
        "</thinking>",
        "<",
        "</",
        "think",
        ">",
        " ",
        "\n",
        "a",
    )
)
CONTENT = st.lists(PARTS | st.text(max_size=3), max_size=12).map("".join)


@given(CONTENT, st.booleans(), st.data())
def test_where_content_is_split_changes_nothing(content: str, inside: bool, data: st.DataObject) -> None:
    at = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    pieces = [content[a:b] for a, b in itertools.pairwise([0, *at, len(content)])]

    assert told(pieces, inside=inside) == told([content], inside=inside)


@given(CONTENT)
def test_no_tag_is_ever_said_and_content_without_one_is_said_as_it_is(content: str) -> None:
    tag = re.compile(r"(?ai:</?think(ing)?\s{0,8}>)")
    if tag.search(content):
        assert tag.search(tag.sub("", content)) or not tag.search(told([content])[1])
    else:
        assert told([content]) == ("", content)


def test_a_word_is_held_back_no_longer_than_it_may_become_a_tag() -> None:
    thinking = Thinking()
    assert thinking.push("<th") == ("", "")
    assert thinking.push("e") == ("", "<the")
    assert thinking.speaking


def test_a_thought_is_passed_on_as_it_comes() -> None:
    thinking = Thinking()
    assert [thinking.push(text)[0] for text in ("<think>", "Let", " me", "</", "see")] == [
        "",
        "Let",
        " me",
        "",
        "</see",
    ]


def test_white_space_without_end_is_passed_on() -> None:
    """Some models never stop with it, in JSON mode above all: it is not kept."""
    thinking = Thinking()
    assert thinking.push(" " * MAX_SPACE) == ("", "")
    assert thinking.push(" ") == ("", " " * (MAX_SPACE + 1))


def test_where_the_upstream_tells_them_apart_itself_content_is_said() -> None:
    thinking = Thinking(inside=True)
    thinking.told_apart()
    assert thinking.push("\n\nHello.") == ("", "Hello.")


def test_something_else_that_comes_ends_the_waiting() -> None:
    thinking = Thinking()
    thinking.push(" <think")
    assert thinking.flush() == ("", " <think")
    assert thinking.push(">") == ("", ">")
