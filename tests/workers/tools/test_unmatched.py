"""Gates that hold nothing back are told of, once."""

import json
import logging
from typing import Any

import pytest

from protocol.messages import Tool
from protocol.settings_profiles import Gate
from workers.tools import unmatched
from workers.tools.unmatched import arguments_of, warn

TRANSFER = {"type": "object", "properties": {"transfer_number": {"type": "string"}, "reason": {"type": "string"}}}


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(unmatched, "_told", set())
    caplog.set_level(logging.WARNING)


def tool(schema: Any = TRANSFER, name: str = "transfer") -> Tool:
    return Tool(name, parameters=json.dumps(schema).encode())


def gate(*arguments: str) -> Gate:
    return Gate(allowed=dict.fromkeys(arguments, ("+1 555 0100",)))


def test_an_argument_that_the_tool_does_not_have_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        warn([tool()], {"transfer": gate("transfer_number", "number", "digits")})

    has = "it has: 'transfer_number', 'reason'"
    assert caplog.messages == [
        f"tools.transfer.allowed: the tool has no argument 'number', so that nothing is held back by it; {has}",
        f"tools.transfer.allowed: the tool has no argument 'digits', so that nothing is held back by it; {has}",
    ]


QUIET: dict[str, tuple[list[Tool], dict[str, Gate]]] = {
    "no gates": ([tool()], {}),
    "a gate for another tool": ([tool()], {"end_call": gate("number")}),
    "a gate without values": ([tool()], {"transfer": Gate(not_before_turn=2)}),
    "an argument that there is": ([tool()], {"transfer": gate("reason")}),
    "a schema that does not tell": ([tool({"type": "object"})], {"transfer": gate("number")}),
}


@pytest.mark.parametrize(("tools", "gates"), QUIET.values(), ids=QUIET)
def test_where_nothing_is_wrong_nothing_is_told(
    tools: list[Tool], gates: dict[str, Gate], caplog: pytest.LogCaptureFixture
) -> None:
    warn(tools, gates)

    assert not caplog.records


def test_a_tool_without_arguments_has_none(caplog: pytest.LogCaptureFixture) -> None:
    warn([Tool("transfer")], {"transfer": gate("number")})

    assert caplog.messages == [
        "tools.transfer.allowed: the tool has no argument 'number', so that nothing is held back by it; it has: none"
    ]


def test_what_a_request_can_make_a_worker_say_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    long = tool({"properties": {f"{at} {'x' * 100}\n": {} for at in range(30)}})
    for at in range(unmatched.MAX_TOLD + 10):
        warn([Tool(f"t{at}")], {f"t{at}": gate("number")})
    unmatched._told.clear()
    warn([long], {"transfer": gate("number")})

    assert len(caplog.messages) == unmatched.MAX_TOLD + 1
    assert len(caplog.messages[-1]) < unmatched.MAX_LISTED * 70 + 200
    assert "\n" not in caplog.messages[-1]


DEEP = b'{"allOf":[' * 300 + b'{"properties":{"a":{}}}' + b"]}" * 300
SCHEMAS: dict[str, tuple[bytes | None, tuple[str, ...] | None]] = {
    "none": (None, ()),
    "an empty object": (b'{"type": "object", "properties": {}}', ()),
    "some": (b'{"properties": {"b": {}, "a": true}}', ("b", "a")),
    "of one of several": (b'{"anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}, "a": {}}}]}', ("a", "b")),
    "where something holds": (b'{"if": {"properties": {"a": {}}}, "then": {"properties": {"b": {}}}}', ("a", "b")),
    "by reference": (b'{"$ref": "#/$defs/T", "$defs": {"T": {"properties": {"a": {"properties": {}}}}}}', ("a",)),
    "a reference to itself": (b'{"properties": {"a": {}}, "allOf": [{"$ref": "#/allOf/0"}]}', ("a",)),
    "a reference elsewhere": (b'{"$ref": "https://example.com/x"}', None),
    "by pattern": (b'{"properties": {"a": {}}, "patternProperties": {"^x": {}}}', None),
    "nothing told": (b"{}", None),
    "odd ones": (b'{"properties": [1], "anyOf": {"a": 1}, "if": 7}', None),
    "no schema": (b"true", None),
    "no JSON": (b"{", None),
    "too large": (b'{"properties": {"a": {"description": "%b"}}}' % (b"x" * (64 << 10)), None),
    "one in the other": (DEEP, ("a",)),
}


@pytest.mark.parametrize(("schema", "expected"), SCHEMAS.values(), ids=SCHEMAS)
def test_the_arguments_that_a_schema_has(schema: bytes | None, expected: tuple[str, ...] | None) -> None:
    assert arguments_of(schema) == expected
