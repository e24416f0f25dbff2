"""LangChain's `ChatOpenAI` over the Responses API: with the whole history, or chained by `previous_response_id`."""

import asyncio
import sys
from functools import partial

from langchain_openai import ChatOpenAI

from tests.clients.programs.langchain_chat import ask
from tests.clients.programs.orders import Order, serve


def made(order: Order) -> ChatOpenAI:
    """The model."""
    return ChatOpenAI(
        model=order.model,
        base_url=sys.argv[-1],
        api_key="none",
        max_retries=0,
        use_responses_api=True,
        use_previous_response_id="chained" in sys.argv,
        output_version="responses/v1",
        reasoning={"summary": "auto"} if order.think else None,
        extra_body={"metadata": order.metadata},
    )


if __name__ == "__main__":
    asyncio.run(serve(partial(ask, made)))
