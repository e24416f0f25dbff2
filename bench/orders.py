"""What a request tells the fake upstream to do, what it then says, and what it wrote down about it.

An order is the last user message of a request: `#<tag> first_ms=200 rate=50 tokens=40`. What comes out is
numbered, so a reader can tell which generation said it and whether anything is missing or came twice.
"""

import msgspec
from msgspec import Struct


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """One generation, as it was asked for. Times count from the receipt of the request."""

    tag: str = ""
    head_ms: float = 0.0  # until the status line and the role chunk
    first_ms: float = 0.0  # until the first delta
    rate: float = 0.0  # deltas a second after the first; 0: as fast as the socket takes them
    tokens: int = 20  # words of content, or fragments of arguments per tool call
    reasoning: int = 0  # words of reasoning before them
    tool: int = 0  # calls to the first tool of the request, in place of content
    fail: str = ""  # before:STATUS, cut:K, stall:K, malformed:K, error:K or empty; K deltas come before it

    @property
    def failure(self) -> tuple[str, int]:
        """What fails, and its number: a status, or how many deltas come before it."""
        name, _, number = self.fail.partition(":")
        return name, int(number or 0)


class Generation(Struct, kw_only=True):
    """What the upstream saw of one request. All times are `time.monotonic()`, comparable within one machine."""

    tag: str
    number: int  # counts the requests of one tag, from 1
    order: Order
    received: float
    trace_id: str = ""
    first: float | None = None  # the first delta left
    sent: int = 0  # deltas so far, reasoning included
    finished: float | None = None  # the last byte left
    closed: float | None = None  # the other side hung up before that

    @property
    def open(self) -> bool:
        """Whether it is still being said."""
        return self.finished is None and self.closed is None

    @property
    def text(self) -> str:
        """All the content that it says when it comes to its end."""
        return text(self.number, 0 if self.order.tool else self.order.tokens)

    @property
    def arguments(self) -> list[str]:
        """The arguments of every call that it makes."""
        return [arguments(self.number, self.order.tokens)] * self.order.tool


def parse(message: str) -> Order:
    """The order in a user message. One that does not begin with `#` is the default order.

    Raises:
        ValueError: an unknown name, or a value of the wrong type.
    """
    if not message.startswith("#"):
        return Order()
    tag, *settings = message[1:].split()
    pairs = dict(setting.split("=", 1) for setting in settings)
    return msgspec.convert({"tag": tag, **pairs}, Order, strict=False)


def token(number: int, index: int) -> str:
    """The word at `index` of generation `number`."""
    return f"g{number}.{index} "


def text(number: int, tokens: int) -> str:
    """The first words of generation `number`."""
    return "".join(token(number, index) for index in range(tokens))


def arguments(number: int, tokens: int) -> str:
    """What generation `number` calls a tool with."""
    return f'{{"text": "{text(number, tokens)}"}}'
