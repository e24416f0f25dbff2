"""Turns to hold against the contract: any sequence of frames that the lifecycle allows, and how it is written."""

from collections.abc import Sequence

from hypothesis import strategies as st

from edge.chat import ChatAnswer
from edge.dialect import Delta
from protocol.errors import from_failed
from protocol.lifecycle import NEXT, Claim, advance
from protocol.messages import (
    LAST,
    Claimed,
    Failed,
    Finished,
    Frame,
    Reasoning,
    Refusal,
    Text,
    Timings,
    TokenLogprob,
    ToolCall,
    Usage,
)
from tests.edge.contract import CREATED, MODEL

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
tokens = st.builds(TokenLogprob, words, st.floats(-20, 0), st.none() | st.just((72, 105)))
logprobs = st.lists(
    st.builds(
        lambda token, top: TokenLogprob(token.token, token.logprob, token.bytes, top),
        tokens,
        st.lists(tokens, max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=2,
)
usages = st.builds(Usage, *[st.integers(0, 2**31)] * 4)
reasons = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
arguments = st.sampled_from(["{}", '{"city":"Oslo"}', '{"text":"\\u2028\\"é"}'])
FAILED = [
    Failed("worker_lost", "the worker is gone: ask again"),
    Failed("upstream_error", "the target answered\nnonsense", param="messages"),
    Failed("rate_limit_exceeded", "too many requests: wait", retry_after_s=1.5),
    Failed("upstream_refused", "the target found 'temperature' at fault", param="temperature"),
]
FRAMES: dict[type[Frame], st.SearchStrategy[Frame]] = {
    Claimed: st.just(Claimed("ack")),
    Text: st.builds(Text, words, st.none() | logprobs.map(tuple)),
    Reasoning: st.builds(Reasoning, words | st.just(""), st.none() | st.just("rs_1"), st.none() | st.just("opaque")),
    Refusal: st.builds(Refusal, words),
    ToolCall: st.builds(ToolCall, st.just(0), st.just(""), words, arguments),
    Finished: st.builds(Finished, reasons, usages, st.just("t"), st.just(Timings())),
    Failed: st.sampled_from(FAILED),
}


@st.composite
def turns(draw: st.DrawFn, last: tuple[type[Frame], ...] = LAST) -> list[Frame]:
    """Frames of one claim from the first to a last one out of `last`, step by step through the lifecycle's table."""
    state, frames, calls = Claim.NEW, list[Frame](), 0
    while state is not Claim.CLOSED:
        kinds = [kind for kind in NEXT[state] if kind in last] + [kind for kind in NEXT[state] if kind not in LAST]
        frame = draw(FRAMES[draw(st.sampled_from(kinds))])
        if isinstance(frame, ToolCall):  # calls are counted from 0 without gaps, and no two share an id
            frame, calls = ToolCall(calls, f"call_{calls}", frame.name, frame.arguments), calls + 1
        state = advance(state, frame)
        frames.append(frame)
    return frames


def answer(*, include_usage: bool = False, legacy: bool = False) -> ChatAnswer:
    return ChatAnswer(turn_id="req_1", model=MODEL, created=CREATED, include_usage=include_usage, legacy=legacy)


def deltas_of(frames: Sequence[Frame]) -> list[Delta]:
    """Those that carry an answer; the others stay with the relay."""
    return [frame for frame in frames if isinstance(frame, Delta)]


def streamed(dialect: ChatAnswer, frames: Sequence[Frame]) -> list[bytes]:
    """What the relay writes, piece by piece."""
    pieces = [dialect.opening(), *map(dialect.delta, deltas_of(frames))]
    match frames[-1]:
        case Failed() as failed:
            return [*pieces, dialect.error(from_failed(failed))]
        case Finished() as last:
            return [*pieces, dialect.finish(last, usage=last.usage)]
    raise ValueError("a turn ends with a last frame")


def whole(dialect: ChatAnswer, frames: Sequence[Frame]) -> bytes:
    """The same turn as one body."""
    last = frames[-1]
    assert isinstance(last, Finished)
    return dialect.body(deltas_of(frames), last, usage=last.usage)
