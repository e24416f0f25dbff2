"""What the caller has heard of the turn before, as the history of the next one shows it. Pure.

A voice platform that was interrupted sends back the assistant's words as far as they were played: the beginning of what
was said, perhaps trimmed, perhaps with "..." where it was cut, or no message at all. Where the history shows something
else, nothing is known.
"""

from collections.abc import Sequence

from edge.calls import SAID_KEPT, CallState
from protocol.messages import Heard, Job, Message, text_of

CUT_MARKS = ("...", "…", "--", "—", "-")


def heard(state: CallState, job: Job) -> Heard | None:
    """How much of the call's last turn its caller has heard, by the history of `job`, without what the edge has said.

    None: nothing is known, or all of it was heard. Which of the messages is that turn's is told by how often the caller
    had spoken before: a history that was shortened at its head says nothing.
    """
    said = " ".join(state.said.split())
    if not said or len(state.said) >= SAID_KEPT or job.call_id is None:  # what is longer was cut when it was kept
        return None
    length = _heard_chars(said, state, job.messages)
    if length is None or length >= len(said):
        return None
    return Heard(
        amends=state.turn_id,
        by=job.id,
        tenant=job.tenant,
        call_id=job.call_id,
        said_chars=len(said),
        heard_chars=length,
        said_words=len(said.split()),
        heard_words=_whole_words(said, length),
    )


def _heard_chars(said: str, state: CallState, messages: Sequence[Message]) -> int | None:
    """Characters of `said` that came back; None: the history does not say."""
    answers, is_followed = _answers(messages, state.asked)
    texts = [text for message in answers if (text := text_of(message).strip())]
    if texts:
        return _prefix(said, " ".join(texts[-1].split()))
    knows = state.interrupted or any(message.role == "assistant" for message in messages)  # some send none at all
    return 0 if is_followed and knows and not answers else None


def _answers(messages: Sequence[Message], users: int) -> tuple[list[Message], bool]:
    """The assistant's messages behind so many of the caller's, and whether the caller has spoken since."""
    found: list[Message] = []
    seen = 0
    for message in messages:
        seen += message.role == "user"
        if seen > users:
            return found, True
        if seen == users and message.role == "assistant":
            found.append(message)
    return found, False


def _prefix(said: str, words: str) -> int | None:
    """Characters of `said` that `words` are the beginning of, with or without a mark where they were cut."""
    without_mark = (words.removesuffix(mark).rstrip() for mark in CUT_MARKS if words.endswith(mark))
    return next((len(known) for known in (words, *without_mark) if said.startswith(known)), None)


def _whole_words(said: str, length: int) -> int:
    """Words in the first `length` characters; one that was cut is none."""
    count = len(said[:length].split())
    is_cut = 0 < length < len(said) and said[length - 1].isalnum() and said[length].isalnum()
    return count - is_cut
