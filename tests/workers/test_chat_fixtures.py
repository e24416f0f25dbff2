"""Answers as known upstreams send them: what each becomes, however it is cut and whatever is added to it."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.messages import Finished, Frame, Reasoning, Text, Usage
from workers.targets.chat_parser import ChatParser
from workers.targets.upstream import joined

FOLDER = Path(__file__).parents[1] / "fixtures" / "upstreams" / "chat"
STREAMS = {path.stem: path.read_bytes() for path in FOLDER.glob("*.sse")}

BOOKED = Text("Table booked.")
ANSWERS: dict[str, list[Frame]] = {
    "azure": [BOOKED, Finished("stop", Usage(prompt=12, completion=4, cached=8))],
    "groq": [BOOKED, Finished("stop", Usage(prompt=12, completion=4))],
    "vllm": [
        Reasoning("They ask "),
        Reasoning("for a table."),
        BOOKED,
        Finished("stop", Usage(prompt=12, completion=4)),
    ],
}
NEWS = [
    b": ping\n\n",
    b'event: news\ndata: {"object":"news"}\n\n',
    b'data: {"choices":[],"p":"abc"}\n\n',
    b"retry: 1\n\n",
]

named = pytest.mark.parametrize("name", ANSWERS)


def read(pieces: list[bytes]) -> tuple[list[Frame], ChatParser]:
    parser = ChatParser(job_id="j", target="t")
    frames = [frame for piece in pieces for frame in parser.feed(piece)]
    return list(joined([*frames, *parser.end()])), parser


@named
def test_what_it_becomes(name: str) -> None:
    frames, parser = read([STREAMS[name]])
    assert frames == ANSWERS[name]
    assert (parser.skipped, parser.faults, parser.done) == (0, set(), True)


def test_every_stream_has_an_answer() -> None:
    assert STREAMS.keys() == ANSWERS.keys()


@given(st.sampled_from(sorted(ANSWERS)), st.data())
def test_where_it_is_cut_changes_nothing(name: str, data: st.DataObject) -> None:
    stream = STREAMS[name]
    at = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assert read([stream[a:b] for a, b in itertools.pairwise([0, *at, len(stream)])])[0] == ANSWERS[name]


@given(st.sampled_from(sorted(ANSWERS)), st.data())
def test_unknown_fields_and_events_change_nothing(name: str, data: st.DataObject) -> None:
    """Upstreams add both without a word."""
    pieces = []
    for event in STREAMS[name].removesuffix(b"\n\n").split(b"\n\n"):
        told = event.removeprefix(b"data: ")
        if told != b"[DONE]":
            chunk = json.loads(told)
            for holder in (chunk, *chunk["choices"], *(choice.get("delta", {}) for choice in chunk["choices"])):
                holder["unheard_of"] = data.draw(st.sampled_from([None, 1, "x", [1], {"content": "x"}]))
            told = json.dumps(chunk).encode()
            pieces.append(data.draw(st.sampled_from([b"", *NEWS])))
        pieces.append(b"data: %b\n\n" % told)
    assert read(pieces)[0] == ANSWERS[name]
