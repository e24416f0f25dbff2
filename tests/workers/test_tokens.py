"""Tokens, counted with the real vocabulary.

Known counts: OpenAI's cookbook, "How to count tokens with tiktoken" (github.com/openai/openai-cookbook, commit
c81359cd), where the API's own figures stand beside them.
"""

from collections.abc import Iterator
from threading import Thread

import pytest

from protocol.settings import parse
from workers import app, tokens
from workers.tokens import by_characters, count


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tokens, "_count", by_characters)
    tokens.load_soon.cache_clear()
    yield
    tokens.load_soon.cache_clear()


@pytest.fixture
def loaded() -> Thread:
    loading = tokens.load_soon()
    loading.join()
    return loading


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 2 = 4", 7),
        ("お誕生日おめでとう", 8),
        ("antidisestablishmentarianism", 6),
        ("", 0),
        ("a", 1),
    ],
)
def test_counts_are_those_of_o200k_base(loaded: Thread, text: str, expected: int) -> None:
    assert count(text) == expected


def test_what_looks_like_a_mark_of_the_vocabulary_is_text(loaded: Thread) -> None:
    """`<|endoftext|>` would be one token, and other tokenizers refuse it."""
    assert count("<|endoftext|>") > 1


def test_half_a_character_counts_as_something(loaded: Thread) -> None:
    assert count("a\ud800b") == count("a?b")


def test_a_large_text_is_counted_in_pieces_with_next_to_no_difference(loaded: Thread) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 2000

    assert tokens._count(text) <= count(text) <= tokens._count(text) + 2 * (len(text) // tokens.PIECE_CHARS)


@pytest.mark.parametrize(("text", "expected"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2)])
def test_before_it_is_loaded_characters_are_counted(text: str, expected: int) -> None:
    assert count(text) == expected


def test_without_the_package_characters_are_counted_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tokens, "PACKAGE", "bpe_that_is_not_there")

    tokens.load_soon().join()

    assert count("abcde") == 2
    assert "tokens are counted by characters" in caplog.text


def test_it_is_loaded_once(loaded: Thread) -> None:
    assert tokens.load_soon() is loaded


UPSTREAM = """
[models.desk]
pool = "far"
targets = ["a"]
[targets.a]
base_url = "http://127.0.0.1:1/v1"
model = "m"
"""


@pytest.mark.parametrize(("pools", "begins"), [("default", False), ("default,far", True)])
def test_only_a_worker_that_asks_an_upstream_loads_it(
    monkeypatch: pytest.MonkeyPatch, pools: str, begins: bool
) -> None:
    monkeypatch.setattr(tokens, "_load", lambda: None)

    app._count_tokens(parse(UPSTREAM, {"TRUNKLINE_WORKER__POOLS": pools}))

    assert tokens.load_soon.cache_info().currsize == begins
