"""Pipecat's `OpenAILLMService` in a running pipeline, between the aggregators that keep the history."""

import asyncio
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    ErrorFrame,
    FunctionCallsStartedFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMMessagesAppendFrame,
    LLMRunFrame,
    LLMTextFrame,
    LLMThoughtTextFrame,
    MetricsFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallParams, LLMService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.workers.runner import WorkerRunner

from tests.clients.programs import orders
from tests.clients.programs.orders import Order, Report, serve

BOOKING = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "guests": {"type": "integer"}},
    "required": ["name", "guests"],
    "additionalProperties": False,
}


async def get_weather(params: FunctionCallParams, city: str) -> None:
    """Look the weather up.

    Args:
        city: Where.
    """
    await params.result_callback(orders.get_weather(city))


async def get_time(params: FunctionCallParams) -> None:
    """Look at the clock."""
    await params.result_callback(orders.get_time())


class Listener(BaseObserver):  # type: ignore[misc]  # Any, where it is checked
    """Hears what the service pushes into the pipeline."""

    def __init__(self, service: LLMService, order: Order, report: Report) -> None:
        super().__init__()
        self.heard_enough = asyncio.Event()
        self.ended = asyncio.Event()  # with a text or an error: an answer of nothing but calls is followed by another
        self._service, self._order, self._report = service, order, report

    async def on_push_frame(self, data: FramePushed) -> None:
        """A frame on its way, from whichever processor."""
        if data.source is self._service and data.first_push:
            self._hear(data.frame, down=data.direction is FrameDirection.DOWNSTREAM)

    def _hear(self, frame: Any, *, down: bool) -> None:
        report = self._report  # what is pushed both ways counts once
        match frame:
            case LLMTextFrame():
                report.hear(frame.text)
            case LLMThoughtTextFrame():
                report.thoughts += frame.text
            case FunctionCallsStartedFrame() if down:
                calls = frame.function_calls
                report.calls += [{"name": call.function_name, "arguments": dict(call.arguments)} for call in calls]
            case MetricsFrame(data=[LLMUsageMetricsData(value=used)]):
                report.usage = [used.prompt_tokens, used.completion_tokens, used.total_tokens]
            case ErrorFrame():
                report.error, report.status = frame.error, getattr(frame.exception, "status_code", None)
            case LLMFullResponseEndFrame() if report.text or report.error:
                self.ended.set()
        if self.ended.is_set() or (self._order.hang_up_after and report.pieces >= self._order.hang_up_after):
            self.heard_enough.set()


def made(order: Order) -> OpenAILLMService:
    """The service."""
    settings = OpenAILLMService.Settings(model=order.model, extra={"metadata": order.metadata})
    return OpenAILLMService(api_key="none", base_url=sys.argv[-1], settings=settings)


async def ask(make: Callable[[Order], LLMService], order: Order) -> Report:
    """One order, in a pipeline of its own."""
    report = Report()
    service = make(order)
    tools = [get_weather, get_time] if order.tools else []
    context = LLMContext([{"role": "user", "content": order.say}], tools=tools)
    if order.form:  # outside the pipeline, as Pipecat has it
        report.value = json.loads(await service.run_inference(context, response_schema=BOOKING) or "null")
    else:
        await _run(service, context, order, report)
    return report


async def _run(service: LLMService, context: LLMContext, order: Order, report: Report) -> None:
    """Start a pipeline, hear one answer or interrupt it, say what comes then, and end the pipeline."""
    sides = LLMContextAggregatorPair(context)
    listener = Listener(service, order, report)
    measured = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
    pipeline = Pipeline([sides.user(), service, sides.assistant()])
    worker = PipelineWorker(pipeline, params=measured, observers=[listener])
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    kept = asyncio.Event()  # the answer, in the history

    async def keep(*_: object) -> None:
        kept.set()

    sides.assistant().add_event_handler("on_assistant_turn_stopped", keep)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run())
        await worker.queue_frame(LLMRunFrame())
        await listener.heard_enough.wait()
        if order.hang_up_after:
            await worker.queue_frame(InterruptionFrame())
        await listener.ended.wait()
        if order.then:
            await kept.wait()
            listener.ended.clear()
            said = {"role": "user", "content": order.then}
            await worker.queue_frame(LLMMessagesAppendFrame([said], run_llm=True))
            await listener.ended.wait()
        await runner.end()


def main(make: Callable[[Order], LLMService]) -> None:
    """Obey."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    asyncio.run(serve(partial(ask, make)))


if __name__ == "__main__":
    main(made)
