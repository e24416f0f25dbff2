"""Tool calls in what a model wrote as text, in all the ways that models have."""

import json
import re
import warnings

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Tool
from workers.targets import leaked_calls
from workers.targets.leaked_calls import MAX_CODE_CHARS, calls_in, words_behind

SCHEMA = b"""{"properties": {"text": {"type": "string"}, "n": {"type": "integer"}, "b": {"type": ["boolean", "null"]},
    "o": {"anyOf": [{"type": "object"}, {"type": "null"}]}, "bad": true}}"""
TOOLS = {tool.name: tool for tool in (Tool("f", parameters=SCHEMA), Tool("g"), Tool("a.b"), Tool("odd", None, b"[]"))}

READ: dict[str, list[tuple[str, str]]] = {
    # JSON
    '{"name": "f", "arguments": {"n": 1}}': [("f", '{"n":1}')],
    '{"name": "f", "parameters": {"n": 1}}': [("f", '{"n":1}')],
    '{"name": "f", "arguments": "{\\"n\\": 1}"}': [("f", '{"n":1}')],
    '{"type": "function", "function": {"name": "f", "arguments": {}}}': [("f", "{}")],
    '{"function": "f", "parameters": null}': [("f", "{}")],
    '{"name": "g"}\n{"name": "f"}': [("g", "{}"), ("f", "{}")],
    '{"name": "g"}; {"name": "f"},': [("g", "{}"), ("f", "{}")],
    '[\n {"name": "g"}, {"name": "x"}, 7]': [("g", "{}")],
    '{"name": "functions.g:0"}': [("g", "{}")],
    '{"name": "a.b"}': [("a.b", "{}")],
    '{"name": "f", "arguments": {"text": "one\ntwo"}}': [("f", '{"text":"one\\ntwo"}')],
    '{"name": "g"} and then {"name": "f"}': [("g", "{}")],
    '{"name": "f", "arguments": {"n": NaN}}': [],
    '{"name": "f", "arguments": {"text": "\\ud800"}}': [],
    '{"name": "f", "arguments": [1]}': [],
    '{"name": "f", "arguments": "what"}': [],
    '{"name": 7}': [],
    # arguments by another key
    '{"name": "f", "args": {"n": 1}}': [("f", '{"n":1}')],
    '{"name": "f", "input": {"n": 1}}': [("f", '{"n":1}')],
    '{"name": "f", "arguments": null, "input": {"n": 1}}': [("f", '{"n":1}')],
    '{"tool_name": "f", "parameters": {"n": 1}}': [("f", '{"n":1}')],
    '{"function": {"name": "f"}, "arguments": {"n": 1}}': [("f", '{"n":1}')],
    '{"type": "function", "id": "1", "name": "g"}': [("g", "{}")],
    '{"name": "f", "n": 1}': [],
    '{"name": "f", "arguments": null, "n": 1}': [],
    '[{"name": "f", "kwargs": {"n": 1}}, {"name": "g"}]': [("g", "{}")],
    "<function=f>n=1</function>": [],
    # without its brackets, in a block of code, before control tokens
    '"name": "f", "arguments": {"n": 1}': [("f", '{"n":1}')],
    '"name": "f", "arguments": {"o": {}}}': [("f", '{"o":{}}')],
    '```json\n{"name": "f", "arguments": {"n": 1}}\n```': [("f", '{"n":1}')],
    "```\nf(n=1)\n```\n<|im_end|>": [("f", '{"n":1}')],
    "f(n=1)<|eom_id|> </s>\n": [("f", '{"n":1}')],
    "f(text='<|x|>')<|eom_id|>": [("f", '{"text":"<|x|>"}')],
    # with names in attributes
    '<invoke name="f"><parameter name="n">3</parameter></invoke>': [("f", '{"n":3}')],
    '<｜DSML｜invoke name="f"><｜DSML｜parameter name="text" string="true">3</｜DSML｜parameter>\n</｜DSML｜invoke>': [
        ("f", '{"text":"3"}')
    ],
    '<invoke name="g"></invoke>\n<invoke name="f"><parameter name="n">3</parameter>': [("g", "{}")],
    '<invoke name="f">{"n": 1}</invoke>': [],
    '<invoke name="f"><parameter name="n">3</invoke>': [],
    '<invoke name="f"><parameter>3</parameter></invoke>': [],
    '{"name": "f", "argum': [],
    # Llama's and Qwen3-Coder's tags
    '<function=f>{"n": 1}</function>': [("f", '{"n":1}')],
    '<function=f>{"n": 1}': [("f", '{"n":1}')],
    '<function=f>{"n": 1': [],
    "<function=g></function>": [("g", "{}")],
    "<function=g>": [],
    '<function=g></function><function=f>{"n": 2}</function>': [("g", "{}"), ("f", '{"n":2}')],
    "<function=f><parameter=n>3</parameter><parameter=text>3</parameter></function>": [("f", '{"n":3,"text":"3"}')],
    "<function=f><parameter=b>True</parameter></function>": [("f", '{"b":true}')],
    '<function=f><parameter=o>{"a": 1}</parameter></function>': [("f", '{"o":{"a":1}}')],
    "<function=f><parameter=n>three</parameter></function>": [("f", '{"n":"three"}')],
    "<function=f><parameter=new>\n 1\n</parameter></function>": [("f", '{"new":" 1"}')],
    "<function=odd><parameter=x>1</parameter></function>": [("odd", '{"x":"1"}')],
    "<function=f><parameter=n>3</parameter>": [],
    "<function=f><parameter=n>3<parameter=text>a</parameter></function>": [],
    # a name before its arguments
    'f{"n": 1}': [("f", '{"n":1}')],
    'f[ARGS]{"n": 1}': [("f", '{"n":1}')],
    'f[CALL_ID]abc123def[ARGS]{"n": 1}[TOOL_CALLS]g[ARGS]{}': [("f", '{"n":1}'), ("g", "{}")],
    "f\n<arg_key>n</arg_key>\n<arg_value>3</arg_value>": [("f", '{"n":3}')],
    "f\n<arg_key>n</arg_key>\n<arg_value>3": [],
    "f\n<arg_key>n</arg_key>3": [],
    # Python
    "f(n=1, text='a')": [("f", '{"n":1,"text":"a"}')],
    "print(default_api.f(n=-1))": [("f", '{"n":-1}')],
    "[f(n=1), g()]": [("f", '{"n":1}'), ("g", "{}")],
    "f(n=1)\ng()": [("f", '{"n":1}'), ("g", "{}")],
    "f(text=r'\\d')": [("f", '{"text":"\\\\d"}')],
    "f(text='\\d')": [("f", '{"text":"\\\\d"}')],
    "f(o={'a': [1, None, True]})": [("f", '{"o":{"a":[1,null,true]}}')],
    "f(1)": [],
    "f(**{'n': 1})": [],
    "f(n=open('/etc/passwd').read())": [],
    "f(n=1j)": [],
    "__import__('os').system(command='true')": [],
    "f(n=1": [],
    "(lambda: f)(n=1)": [],
    "": [],
    "Hello there.": [],
}


@pytest.mark.parametrize(("text", "expected"), READ.items())
def test_a_call_is_read_as_its_model_writes_it(text: str, expected: list[tuple[str, str]]) -> None:
    assert calls_in(text, TOOLS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        '{"name": "f", "arguments": ' + '{"a":' * 20_000,
        "f(n=" + "(" * 8_000,
        "f(n=" + "-" * 8_000 + "1)",
        "f(n=" + "[" * 150 + "]" * 150 + ")",
        "f" + " " * 60_000,
        "f" + "[ARGS]" * 10_000,
        "f(text='" + "x" * MAX_CODE_CHARS + "')",
        "<function=" * 6_000,
        '<invoke name="f">' * 4_000,
        '<invoke name="f">' + '<parameter name="a">' * 3_000,
        "<|x|>" * 12_000,
        "f" + "<|x|>" * 12_000 + "x",
        "<function=f>" + "<parameter=a>" * 4_000,
        "f<arg_key>" * 6_000,
        "f(n=\x00)",
        "f(n=" + "9" * 5_000 + ")",
        '{"name": "f", "arguments": {"n": ' + "9" * 5_000 + "}}",
    ],
    ids=range(18),
)
def test_what_is_made_to_break_a_reader_is_no_call(text: str) -> None:
    assert calls_in(text, TOOLS) == [] or "[[[" in text


def test_bodies_that_nothing_closes_took_a_second_to_read() -> None:
    """Each part was searched to the end of the text for its own end. A pattern that repeats without a bound gives
    nothing back: it goes over a text once.
    """
    patterns = [value.pattern for value in vars(leaked_calls).values() if isinstance(value, re.Pattern)]
    assert patterns
    for pattern in patterns:
        bounded = pattern.replace("*+", "").replace("++", "")
        assert not re.search(r"(?<!\\)[*+]|\.\*|\}\?", bounded), pattern


def test_no_more_calls_are_read_than_may_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them were, and a schema of 100 KB was read for each: a tenth of a second in which nobody else speaks."""
    decoded: list[bytes] = []
    decode = msgspec.json.decode

    def watched(data: bytes) -> object:
        decoded.append(data)
        return decode(data)

    monkeypatch.setattr(msgspec.json, "decode", watched)
    tools = {"f": Tool("f", parameters=b'{"properties": {"n": {"type": "integer"}}, "title": "of many calls"}')}
    text = "<function=f><parameter=n>1</parameter></function>" * 1000

    assert calls_in(text, tools, 3) == [("f", '{"n":1}')] * 3
    assert len(decoded) == 1
    assert calls_in(text, tools, 0) == []


def test_each_parameter_is_looked_at_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, no end tag is looked for behind the next beginning."""
    seen: list[int] = []
    until = leaked_calls._until

    def watched(tag: str, text: str) -> str:
        seen.append(len(text))
        return until(tag, text)

    monkeypatch.setattr(leaked_calls, "_until", watched)
    for text in (
        "<function=f>" + "<parameter=x>1</parameter>" * 2000 + "</function>",
        "f" + "<arg_key>x</arg_key><arg_value>1</arg_value>" * 2000,
        '<invoke name="f">' + '<parameter name="x">1</parameter>' * 2000 + "</invoke>",
    ):
        assert calls_in(text, TOOLS)
        assert sum(seen) < len(text)
        seen.clear()


PARTS = st.sampled_from(
    (
        *(
            '{"name": "f"',
            '"arguments"',
            ": {",
            "}",
            "[",
            "]",
            "f(",
            "n=",
            ")",
            "'",
            '"',
            "\\",
            ",",
            "\n",
            "1",
            "-",
            "*",
        ),
        *("<function=f>", "</function>", "<parameter=n>", "</parameter>", "<arg_key>", "</arg_value>", "[ARGS]"),
    )
)


@given(st.lists(PARTS | st.text(max_size=3), max_size=12).map("".join))
def test_whatever_is_read_its_arguments_are_an_object(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, arguments in calls_in(text, TOOLS):
            assert name in TOOLS
            assert isinstance(json.loads(arguments), dict)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name": "x"} And so on.', " And so on."),
        ('\n[{"name": "x"}]\nAnd so on.', "\nAnd so on."),
        ('{"name": "x", and so on', ""),
        ("f(x=1) and so on", ""),
    ],
)
def test_words_are_told_from_a_call_that_nothing_ends_where_that_is_json(text: str, words: str) -> None:
    assert words_behind(text) == words
