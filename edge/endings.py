"""How a turn ends whose answer did not come, or did not come whole: what its platform bears best. Pure."""

from typing import Literal

from msgspec import Struct

from edge.language import in_language
from protocol.messages import Job, ToolCall
from protocol.profiles import OPENAI
from protocol.settings_profiles import Profile

SKIP_TURN = "skip_turn"  # ElevenLabs' system tool: the agent says nothing on purpose; its arguments are optional


class Ending(Struct, frozen=True):
    """One turn's. The defaults are those of `openai`: a status, or an error event, and an answer goes out as it came.

    `retried`: its platform sends a request again when a status asks it to, and takes no harm from it.
    """

    early: Literal["status", "say"] = "status"  # before the headers
    late: Literal["error", "say"] = "error"  # after them
    empty: Literal["as it came", "error", "say", "silence"] = "as it came"
    sentence: str = ""
    skip: ToolCall | None = None  # what says that silence is meant, where it is offered
    retried: bool = False
    speaks_refusals: bool = False  # as text: platforms read no other field


PLAIN = Ending()


def ending_for(profile: Profile, job: Job, *, speaks: bool, finish_text: str) -> Ending:
    """The profile's ways in the call's language. `speaks`: the answer is a stream of plain text, else no words of ours
    stand in it.

    A profile that has a sentence spoken after the headers, and a status before them, is one of a platform that tries
    again by itself.
    """
    if profile == OPENAI:
        return PLAIN
    retried = profile.early_failure == "status" and profile.late_failure == "say"
    if not speaks:
        return Ending(empty="error", retried=retried, speaks_refusals=is_text(job))
    sentence = in_language(profile.sentences, job.language or profile.language, profile.language)
    return Ending(
        early=profile.early_failure,
        late=profile.late_failure,
        empty=profile.on_empty,
        sentence=sentence or finish_text,
        skip=skip_of(job),
        retried=retried,
        speaks_refusals=True,
    )


def skip_of(job: Job) -> ToolCall | None:
    """The call of `skip_turn`, where the request leaves the model free to make it."""
    choice = job.tool_choice
    may = choice is None or choice.mode in ("auto", "required") or SKIP_TURN in choice.names
    if not may or all(tool.name != SKIP_TURN for tool in job.tools):
        return None
    return ToolCall(0, f"call_{job.id.rpartition('_')[2]}", SKIP_TURN, "{}")


def is_text(job: Job) -> bool:
    """Whether the answer is to be words, and not a JSON object."""
    return job.response_format is None or job.response_format.kind == "text"
