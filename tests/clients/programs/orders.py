"""What a test tells a client to do, and what the client says it has met. Standard library only."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

SETTLE_S = 20.0


@dataclass(frozen=True)
class Order:
    """One thing to ask. With `tools` the client offers its two, runs what is called and asks again with the results."""

    model: str
    say: str
    metadata: dict[str, str] = field(default_factory=dict)  # commands for the built-in model
    tools: bool = False
    form: bool = False  # structured output, in the form of `Booking`
    hang_up_after: int = 0  # pieces of text; 0: hear it out
    think: bool = False  # with a summary of what the model thought; Responses alone have one
    then: str = ""  # said next, when the answer is heard out: as the client goes on in a conversation by itself


@dataclass
class Report:
    """What the client made of the answer, in its own words as far as it has them."""

    text: str = ""  # of all answers
    pieces: int = 0  # of text, as they came
    thoughts: str = ""  # the summary of the reasoning
    calls: list[dict[str, Any]] = field(default_factory=list)  # name and arguments
    usage: list[int] | None = None  # prompt, completion, total, of the last answer
    error: str = ""
    status: int | None = None  # of the error, where the client shows it
    value: Any = None  # structured output

    def hear(self, piece: str) -> None:
        """A piece of text has come."""
        if piece:
            self.text += piece
            self.pieces += 1


def get_weather(city: str) -> str:
    """Look the weather up."""
    return f"Rain in {city}."


def get_time() -> str:
    """Look at the clock."""
    return "Ten past nine."


TOOLS: dict[str, Callable[..., str]] = {"get_weather": get_weather, "get_time": get_time}

Ask = Callable[[Order], Awaitable[Report]]


async def serve(ask: Ask) -> None:
    """Obey until stdin ends; the client stays up between two orders, with whatever it keeps open."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        async with asyncio.timeout(SETTLE_S):
            report = await ask(Order(**json.loads(line)))
        print(json.dumps(asdict(report)), flush=True)
