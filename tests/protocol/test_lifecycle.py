"""Which frame may follow which, read aloud; whose frames count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import Addressed
from protocol.lifecycle import AUDIBLE, NEXT, Claim, Fence, Owner, ProtocolViolation, advance
from protocol.messages import LAST, Claimed, Failed, Finished, Frame, Reasoning, Refusal, Text, ToolCall

CLAIMED, TEXT, THOUGHT, REFUSAL = Claimed("ack"), Text("a"), Reasoning("b"), Refusal("no")
CALL, FINISHED, FAILED = ToolCall(0, "id", "f", "{}"), Finished("stop"), Failed("internal", "")
FRAMES: list[Frame] = [CLAIMED, TEXT, THOUGHT, REFUSAL, CALL, FINISHED, FAILED]

TABLE: dict[Claim, dict[str, Claim]] = {
    Claim.NEW: {"Claimed": Claim.RUNNING},
    Claim.RUNNING: {
        "Reasoning": Claim.RUNNING,
        "Text": Claim.SPEAKING,
        "Refusal": Claim.SPEAKING,
        "ToolCall": Claim.CALLING,
        "Finished": Claim.CLOSED,
        "Failed": Claim.CLOSED,
    },
    Claim.SPEAKING: {
        "Reasoning": Claim.SPEAKING,
        "Text": Claim.SPEAKING,
        "Refusal": Claim.SPEAKING,
        "ToolCall": Claim.CALLING,
        "Finished": Claim.CLOSED,
        "Failed": Claim.CLOSED,
    },
    Claim.CALLING: {"ToolCall": Claim.CALLING, "Finished": Claim.CLOSED, "Failed": Claim.CLOSED},
    Claim.CLOSED: {},
}


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
@pytest.mark.parametrize("state", Claim)
def test_the_table(state: Claim, frame: Frame) -> None:
    after = TABLE[state].get(type(frame).__name__)
    if after is not None:
        assert advance(state, frame) is after
    else:
        with pytest.raises(ProtocolViolation, match=f"{type(frame).__name__} cannot follow {state.name}"):
            advance(state, frame)


def test_every_state_has_its_row() -> None:
    assert set(NEXT) == set(Claim)


@given(st.lists(st.sampled_from(FRAMES)))
def test_whatever_is_tried_a_claim_has_one_beginning_and_one_end(tries: list[Frame]) -> None:
    state, said = Claim.NEW, []
    for frame in tries:
        try:
            state = advance(state, frame)
        except ProtocolViolation:
            continue
        said.append(frame)

    assert [isinstance(frame, Claimed) for frame in said] == [at == 0 for at in range(len(said))]
    assert not any(isinstance(frame, LAST) for frame in said[:-1])
    calls = [at for at, frame in enumerate(said) if isinstance(frame, ToolCall)]
    spoken = [at for at, frame in enumerate(said) if isinstance(frame, Text | Refusal)]
    assert not calls or not spoken or spoken[-1] < calls[0], "nothing is spoken after a tool call"
    if state is not Claim.CLOSED:
        assert (state in AUDIBLE) == bool(calls or spoken)


# --- the fence -------------------------------------------------------------------------------------


def numbered(claim: int, frames: list[Frame]) -> list[Addressed]:
    return [Addressed(1, claim, seq, frame) for seq, frame in enumerate(frames)]


ANSWER = numbered(7, [CLAIMED, TEXT, TEXT, FINISHED])


def test_in_their_turn_frames_are_accepted() -> None:
    fence = Fence()

    assert [fence.judge("w", frame) for frame in ANSWER] == ["accepted"] * 4
    assert fence.owner == Owner("w", 7)
    assert fence.state is Claim.CLOSED


def test_the_first_claim_heard_of_owns_the_line_whatever_its_frame() -> None:
    fence = Fence()

    assert fence.judge("w", ANSWER[2]) == "hole"
    assert fence.owner == Owner("w", 7)
    assert fence.expected == 0, "it is asked from the beginning"
    assert fence.judge("v", numbered(8, [CLAIMED])[0]) == "foreign"
    assert fence.judge("w", ANSWER[0]) == "accepted"


def test_a_claims_number_alone_is_no_claim() -> None:
    fence = Fence()
    fence.judge("w", ANSWER[0])

    assert fence.judge("v", ANSWER[1]) == "foreign"


def test_a_repeated_frame_moves_nothing() -> None:
    fence = Fence()
    fence.judge("w", ANSWER[0])

    assert fence.judge("w", ANSWER[0]) == "repeated"
    assert (fence.expected, fence.state) == (1, Claim.RUNNING)


def test_a_frame_of_a_newer_version_counts_and_is_ignored() -> None:
    fence = Fence()
    fence.judge("w", ANSWER[0])

    assert fence.judge("w", Addressed(1, 7, 1, None)) == "accepted"
    assert (fence.expected, fence.state) == (2, Claim.RUNNING)


def test_an_owner_that_breaks_the_protocol_is_found_out() -> None:
    fence = Fence()
    fence.judge("w", ANSWER[0])

    with pytest.raises(ProtocolViolation):
        fence.judge("w", Addressed(1, 7, 1, CLAIMED))
    assert fence.expected == 1


CLAIMS = [
    (worker, frame)
    for worker, claim in (("w", 7), ("v", 8), ("w", 9))
    for frame in numbered(claim, [CLAIMED, *(Text(f"{claim}.{at}") for at in range(4)), FINISHED])
]


@given(st.lists(st.sampled_from(CLAIMS), max_size=60))
def test_whatever_comes_what_is_accepted_is_the_beginning_of_one_claim(arrivals: list[tuple[str, Addressed]]) -> None:
    fence, accepted = Fence(), []
    for worker, frame in arrivals:
        if fence.judge(worker, frame) == "accepted":
            accepted.append((worker, frame))

    if arrivals:
        owner = (arrivals[0][0], arrivals[0][1].claim)
        of_owner = [entry for entry in CLAIMS if (entry[0], entry[1].claim) == owner]
        assert accepted == of_owner[: len(accepted)]
        assert fence.expected == len(accepted)


@given(st.lists(st.sampled_from(CLAIMS[:6]), max_size=30))
def test_asking_from_the_hole_makes_an_answer_whole(arrivals: list[tuple[str, Addressed]]) -> None:
    """Go back to the number that is expected, as often as it takes: nothing is missing in the end."""
    fence = Fence()
    for worker, frame in arrivals:
        fence.judge(worker, frame)

    for worker, frame in CLAIMS[fence.expected : 6]:
        assert fence.judge(worker, frame) == "accepted"
    assert fence.state is Claim.CLOSED
