"""Pipecat's `OpenAIResponsesHttpLLMService`, in the pipeline that its chat service has."""

import sys

from pipecat.services.openai.responses.llm import OpenAIResponsesHttpLLMService

from tests.clients.programs.orders import Order
from tests.clients.programs.pipecat_pipeline import main


def made(order: Order) -> OpenAIResponsesHttpLLMService:
    """The service."""
    service = OpenAIResponsesHttpLLMService
    settings = service.Settings(
        model=order.model,
        extra={"metadata": order.metadata},
        reasoning=service.ReasoningConfig(summary="auto") if order.think else None,
    )
    return service(api_key="none", base_url=sys.argv[-1], settings=settings)


if __name__ == "__main__":
    main(made)
