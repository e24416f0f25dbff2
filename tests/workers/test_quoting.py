"""Where a mark is quoted: in code, and behind a quotation mark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.targets.quoting import Code, is_behind_quote


def in_code(*pieces: str) -> bool:
    code = Code()
    for piece in pieces:
        code.feed(piece)
    return code.is_open()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("a ", False),
        ("a `", True),
        ("a `b ", True),
        ("a `b`", False),
        ("a `b` and `", True),
        ("``a ` b", True),
        ("``a ` b``", False),
        ("a `b\n", False),
        ("```xml\n", True),
        ("```xml\na `b` c\n", True),
        ("```xml\na\n```", False),
        ("```xml\na\n```\nb", False),
        ("```xml\na\n````", False),
        ("```xml\na\n``", True),
        ("```a```", False),
        ("```xml\n```json\n", True),
        ("```xml\na\n```\n```json\n", True),
    ],
)
def test_code_is_what_stands_between_as_many_backticks(text: str, expected: bool) -> None:
    assert in_code(text) == expected
    assert in_code(*text) == expected


@given(st.text("` \na", max_size=20), st.integers(0, 20))
def test_where_a_text_is_split_changes_nothing(text: str, at: int) -> None:
    assert in_code(text[:at], text[at:]) == in_code(text)


@pytest.mark.parametrize("text", ['"', ' "', '("', "a: “", "a „", "«", " '"])
def test_what_stands_behind_a_quotation_mark_that_opens_is_quoted(text: str) -> None:
    assert is_behind_quote(text)


@pytest.mark.parametrize("text", ["", " ", "a", 'Hi."', 'he said "yes"', "“Hi!”", "the dogs'", '" '])
def test_behind_one_that_closes_nothing_is_quoted(text: str) -> None:
    assert not is_behind_quote(text)
