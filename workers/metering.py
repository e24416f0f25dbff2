"""What a generation cost, where nobody says. Pure."""

from protocol.messages import Finished, Frame, Job, Message, Reasoning, Refusal, Text, TextPart, ToolCall, Usage
from workers.claims import size_of

AUDIBLE = (Text, Refusal, ToolCall)
CHARS_PER_TOKEN = 4  # the rule of thumb for English text; an estimate is marked as one


def _length(message: Message) -> int:
    content = message.content
    if isinstance(content, tuple):
        return sum(len(part.text) for part in content if isinstance(part, TextPart))
    return len(content or "") + sum(len(call.arguments) for call in message.tool_calls)


class Meter:
    """Counts along with a stream, so that an interrupted one has a bill too."""

    __slots__ = ("_chars", "_prompt_chars", "_reasoning_chars", "_said")

    def __init__(self, job: Job) -> None:
        self._prompt_chars = sum(_length(message) for message in job.messages)
        self._chars = self._reasoning_chars = 0
        self._said: Usage | None = None

    def count(self, frame: Frame) -> None:
        """Take one frame into account."""
        if type(frame) is Text or isinstance(frame, AUDIBLE):
            self._chars += size_of(frame)
        elif isinstance(frame, Reasoning):
            self._reasoning_chars += size_of(frame)
        elif isinstance(frame, Finished) and frame.usage != Usage():
            self._said = frame.usage

    @property
    def spoke(self) -> bool:
        """Whether any content has come."""
        return self._chars > 0

    @property
    def usage(self) -> Usage:
        """As the target counted; else an estimate."""
        if self._said is not None:
            return self._said
        reasoning = -(-self._reasoning_chars // CHARS_PER_TOKEN)
        completion = -(-self._chars // CHARS_PER_TOKEN) + reasoning
        prompt = -(-self._prompt_chars // CHARS_PER_TOKEN)
        return Usage(prompt=prompt, completion=completion, reasoning=reasoning, estimated=True)
