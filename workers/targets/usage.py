"""What a generation cost, where its target did not say."""

from collections.abc import Iterable

from protocol.messages import Message, TextPart, Usage

CHARS_PER_TOKEN = 4  # of English text, as every large tokenizer has it; other languages cost more


def estimated(messages: Iterable[Message], said_chars: int, thought_chars: int = 0) -> Usage:
    """Tokens counted from the text that went in and the characters that came out, those of thoughts among them."""
    prompt = sum(_chars(message) for message in messages)
    return Usage(
        prompt=_tokens(prompt),
        completion=_tokens(said_chars),
        reasoning=_tokens(thought_chars),
        estimated=True,
    )


def _tokens(chars: int) -> int:
    return -(-chars // CHARS_PER_TOKEN)


def _chars(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(text_of(message)) + calls


def text_of(message: Message) -> str:
    """A message's text, its parts joined; other kinds of parts have none."""
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content or () if isinstance(part, TextPart))
