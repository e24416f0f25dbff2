"""What the load's upstream says, word by word: every word names its stream and its place in it.

So a text that is whole, in order and its own stream's is known by comparing bytes, and no word needs an escape in JSON.
"""

from bench.orders import Order

MAX_TOKENS = 10_000
NUMBERS = tuple(b"%05d " % number for number in range(MAX_TOKENS))
"""Of one width: the chunks of one stream differ in these bytes only, and never in their length."""


def opening(tag: str) -> bytes:
    """What every word of a stream begins with."""
    return b"%b." % tag.encode()


def width(tag: str) -> int:
    """The bytes of one word: a gateway may join words, or split them."""
    return len(opening(tag)) + len(NUMBERS[0])


def text(tag: str, tokens: int) -> bytes:
    """The whole of a stream."""
    start = opening(tag)
    return b"".join([start + number for number in NUMBERS[:tokens]])


def order(tag: str, *, tokens: int, rate: float, first_ms: float) -> str:
    """The user message that orders a stream; `bench.orders` reads it."""
    return f"#{tag} tokens={tokens} rate={rate:g} first_ms={first_ms:g}"


def check(asked: Order) -> None:
    """Raises ValueError: this upstream cannot say that."""
    if not 1 <= asked.tokens <= MAX_TOKENS:
        raise ValueError(f"tokens={asked.tokens}: from 1 to {MAX_TOKENS}")
    if asked.fail or asked.tool or asked.reasoning or asked.head_ms:
        raise ValueError("this upstream is for load: tokens, rate and first_ms only; the rest is in bench.upstream")
