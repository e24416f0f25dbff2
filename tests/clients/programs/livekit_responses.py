"""LiveKit Agents' `openai.responses.LLM`, with LiveKit's own history: over HTTP, or as it is, over a WebSocket."""

import asyncio
import sys
from functools import partial
from typing import Any

from livekit.agents.llm import LLM
from livekit.agents.utils import http_context
from livekit.plugins.openai import responses
from openai.types import Reasoning

from tests.clients.programs.livekit_llm import Booking, ask
from tests.clients.programs.orders import Order, serve


def made(order: Order) -> tuple[LLM, dict[str, Any]]:
    """The model, and what it is asked with: it has no parameter for structured output."""
    more: dict[str, Any] = {} if "websocket" in sys.argv else {"use_websocket": False}
    if order.think:
        more["reasoning"] = Reasoning(summary="auto")
    llm = responses.LLM(model=order.model, base_url=sys.argv[-1], api_key="none", metadata=order.metadata, **more)
    form = {"type": "json_schema", "name": "booking", "schema": Booking.model_json_schema(), "strict": True}
    return llm, {"extra_kwargs": {"text": {"format": form}}} if order.form else {}


async def main() -> None:
    """Obey, with the session that LiveKit's jobs have."""
    async with http_context.open():
        await serve(partial(ask, made))


if __name__ == "__main__":
    asyncio.run(main())
