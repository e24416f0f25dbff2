"""What a barge-in cost: tokens that were generated and never reached the client. Pure."""

from protocol.messages import Usage

TOKENS_PER_PRICE = 1_000_000


def unheard_tokens(usage: Usage, *, written: int, unwritten: int, audible: bool) -> int:
    """Tokens of the bill that never reached the client, by their share of the characters; not `audible`: none did.

    What the model thought belongs to what it said: it is lost only where all of it is.
    """
    if not audible:
        return usage.completion
    if not unwritten:
        return 0
    return round(max(0, usage.completion - usage.reasoning) * unwritten / (written + unwritten))


def unheard_cost(tokens: int | None, price: float | None) -> float | None:
    """Their cost in the unit of the target's prices, of which `price` is the one of its output."""
    return None if tokens is None or price is None else round(tokens * price / TOKENS_PER_PRICE, 9)
