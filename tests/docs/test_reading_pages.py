"""What is taken for a command, and what for the same output."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Command, read
from tests.docs.session import turns_of
from tests.docs.shapes import is_among, is_shown

PAGE = """# A page

    $ make up   # it's one
    $ curl -d '{"a":
        1}' \\
        localhost:8080
    answered
    … twice

<!-- not run: takes minutes -->

```console
$ make bench
```

| command | what |
| --- | --- |
| `make test` <!-- exit code: 1 --> | runs `make check` too |
| `run.json` | is none |

Not `make this`.
"""


def commands_of(text: str, directory: Path) -> list[Command]:
    (directory / "page.md").write_text(text)
    return read(directory / "page.md").commands


def test_commands_are_lines_with_a_prompt_and_rows_that_begin_with_one(tmp_path: Path) -> None:
    found = [(c.line, c.text, c.sample, c.not_run, c.exit_code) for c in commands_of(PAGE, tmp_path)]

    assert found == [
        (3, "make up   # it's one", "", "", 0),
        (4, "curl -d '{\"a\":\n    1}' \\\n    localhost:8080", "answered\n… twice", "", 0),
        (13, "make bench", "", "takes minutes", 0),
        (18, "make test", "", "", 1),
    ]


def test_a_comment_that_is_no_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no tag"):
        commands_of("<!-- not tested -->\n\n    $ make up\n", ROOT / tmp_path)


SAME = [
    ("first 191 ms · worker tf39dmames", "first 1,205.5 ms · worker 22222abcde"),
    ('{"id":"chatcmpl-…", … }\n…\n[DONE]', '{"id":"chatcmpl-1a","x":{}}\n\n{}\n\n[DONE]\n'),
    ("one long\n   line", "one long line"),
    ("├─ admit  0.4 ms  █", "├─ admit  12 ms  ███"),
]
OTHER = [
    ("first 191 ms", "first ms"),
    ("first 191 ms", "first 191 ms, and more"),
    ("worker tf39dmames", "worker -"),
    ("a\n…\nc", "a\nb"),
]


@pytest.mark.parametrize(("sample", "said"), SAME)
def test_output_is_the_same_but_for_figures_ids_and_line_breaks(sample: str, said: str) -> None:
    assert is_shown(sample, said)


@pytest.mark.parametrize(("sample", "said"), OTHER)
def test_output_that_lacks_something_or_says_more_is_another(sample: str, said: str) -> None:
    assert not is_shown(sample, said)


def test_a_page_may_show_a_part() -> None:
    assert is_among("ends with 0", "it began\nit ends with 2")


def test_a_conversation_is_what_is_typed_and_what_is_shown_below_it() -> None:
    assert turns_of("  hi\nyou> one\necho> one\nyou> /trace\n  trace") == [
        ("one", "echo> one", "  hi\nyou> one\necho> one\n"),
        ("/trace", "  trace", "  hi\nyou> one\necho> one\nyou> /trace\n  trace"),
    ]
