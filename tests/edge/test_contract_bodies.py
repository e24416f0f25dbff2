"""Any JSON near a valid body: it is a request, or a 4xx whose `param` is a true path into what was sent."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.chat import parse
from edge.chat_form import ChatBody
from edge.errors import body_bytes, to_openai
from protocol.errors import MissingParameter, ServiceError
from tests.platform_requests import REQUESTS

USER = {"role": "user", "content": "hello"}
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
TOOL = {"type": "function", "function": FUNCTION}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PARTS = [
    {"type": "text", "text": "what is this?"},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    {"type": "file", "file": {"file_id": "file-1"}},
]
VALID: dict[str, dict[str, Any]] = {
    "smallest": {"model": "m", "messages": [USER]},
    "every number and word": {
        "model": "m",
        "messages": [USER],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 1,
        "top_p": 0.5,
        "presence_penalty": -1,
        "frequency_penalty": 1,
        "max_completion_tokens": 10,
        "max_tokens": 10,
        "n": 1,
        "stop": ["a", "b"],
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "logit_bias": {"1": -100},
        "reasoning_effort": "low",
        "verbosity": "low",
        "service_tier": "auto",
        "modalities": ["text"],
        "user": "u",
        "metadata": {"a": "b"},
        "store": False,
        "prediction": {"type": "content", "content": "x"},
    },
    "a history": {
        "model": "m",
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
            {"role": "user", "content": PARTS, "name": "Ann"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "21", "tool_call_id": "call_1"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "21"},
        ],
    },
    "tools": {
        "model": "m",
        "messages": [USER],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
    },
    "allowed tools": {
        "model": "m",
        "messages": [USER],
        "tools": [TOOL],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
    },
    "legacy": {"model": "m", "messages": [USER], "functions": [FUNCTION], "function_call": {"name": "f"}},
    **{name: request.fields for name, request in REQUESTS.items()},
}
Path = tuple[str | int, ...]


@pytest.mark.parametrize("body", VALID.values(), ids=VALID.keys())
def test_the_bodies_that_are_changed_are_requests(body: dict[str, Any]) -> None:
    assert parse(json.dumps(body).encode()).model == body["model"]


# --- changes ---------------------------------------------------------------------------------------

keys = st.sampled_from(
    ["role", "type", "name", "content", "text", "function", "n", "tools", "stop", "Model", "", "é.[0]"]
)
NUMBERS: list[Any] = [0, -1, 1, 2, 1.5, 2**31, 2**63, 10**40, 1e308]
LEAVES: list[Any] = [None, True, False, *NUMBERS, "", "x", "user", "tool", "custom", "audio", "\x00é😀"]
values = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)


def fresh(body: Any) -> Any:
    """A copy that shares nothing, not even with itself."""
    return json.loads(json.dumps(body))


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


def change(draw: st.DrawFn, body: Any, path: Path) -> None:
    """One entry dropped, of another type, nested one deeper, said twice, or under another name."""
    parent = body
    for step in path[:-1]:
        parent = parent[step]
    last = path[-1]
    match draw(st.sampled_from(["drop", "retype", "in a list", "in an object", "rename"])):
        case "drop":
            del parent[last]
        case "retype":
            parent[last] = draw(values)
        case "in a list":
            parent[last] = [parent[last]] * draw(st.integers(1, 6))
        case "in an object":
            parent[last] = {draw(keys): parent[last]}
        case "rename" if isinstance(parent, dict):
            parent[draw(keys)] = parent.pop(last)
        case _:
            parent.insert(last, draw(values))


@st.composite
def near_bodies(draw: st.DrawFn) -> Any:
    body = draw(st.sampled_from(list(VALID.values())).map(fresh))
    for _ in range(draw(st.integers(1, 3))):
        if found := list(places(body)):
            change(draw, body, draw(st.sampled_from(found)))
    return body


# --- true paths ------------------------------------------------------------------------------------

STEP = re.compile(r"\[(\d+)\]|\.?([a-z_]+)")
NOTHING = object()


def steps(param: str) -> Path:
    found = list(STEP.finditer(param))
    assert "".join(match[0] for match in found) == param
    return tuple(int(match[1]) if match[1] else match[2] for match in found)


def at(body: Any, path: Path) -> Any:
    """What stands at a path; NOTHING where its last step leads nowhere. A step before that must lead somewhere."""
    for number, step in enumerate(path, 1):
        known: dict[Any, Any] = dict(enumerate(body)) if isinstance(body, list) else body
        assert type(body) is (list if isinstance(step, int) else dict), (path, body)
        if step not in known:
            assert number == len(path), (path, body)
            return NOTHING
        body = known[step]
    return body


def refused(body: Any) -> ServiceError | None:
    """Why a body is no request; None where it is one."""
    try:
        assert parse(json.dumps(body).encode()).messages
    except ServiceError as error:
        return error
    return None


def blamed(body: Any) -> Path | None:
    """What an error names, once that was seen to be there; None for a request."""
    error = refused(body)
    if error is None:
        return None
    path = steps(json.loads(body_bytes(error))["error"]["param"])
    found = at(body, path)
    assert 400 <= to_openai(error)[0] < 500
    assert found in (None, NOTHING) if isinstance(error, MissingParameter) else found is not NOTHING
    return path


@settings(deadline=None, max_examples=1000)
@given(body=near_bodies())
def test_anything_near_a_body_is_a_request_or_a_4xx_that_names_a_true_path(body: Any) -> None:
    path = blamed(body)

    assert path is None or path[0] in ChatBody.__struct_fields__


@settings(deadline=None, max_examples=200)
@given(root=values.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_object_has_no_field_to_name(root: Any) -> None:
    with pytest.raises(ServiceError) as caught:
        parse(json.dumps(root).encode())

    status, told = to_openai(caught.value)
    assert (status, told["error"]["type"], told["error"]["param"], told["error"]["code"]) == (
        400,
        "invalid_request_error",
        None,
        None,
    )


COUPLED = {
    "tools": "tool_choice",
    "functions": "function_call",
    "logprobs": "top_logprobs",
    "function_call": "functions",
}
WRONG: list[Any] = [*LEAVES, [], [None], ["x"] * 5, {}, {"type": "custom"}, {"x": 1}]


def spoilt(body: Any, place: Path) -> Iterator[Any]:
    """`body` with every wrong value at one place, one after the other, and without that entry."""
    parent = body
    for step in place[:-1]:
        parent = parent[step]
    for wrong in WRONG:
        parent[place[-1]] = wrong
        yield body
    del parent[place[-1]]
    yield body


@pytest.mark.parametrize("name", VALID)
def test_one_bad_value_is_found_where_it_is(name: str) -> None:
    """The error names the parameter that was spoilt, or the one that depends on it."""
    for place in places(VALID[name]):
        top = str(place[0])
        for body in spoilt(fresh(VALID[name]), place):
            path = blamed(body) or place
            assert path[0] in (top, COUPLED.get(top)), (place, path)
            assert path[:2] == place[:2] or top != "messages" or 1 in (len(path), len(place)), (place, path)
