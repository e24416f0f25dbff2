"""What a handler asks of one of the API's dialects: a body in, and what writes its answer."""

from typing import NamedTuple, Protocol

from edge import chat
from edge.answers import Keeper
from edge.asked import AskedT
from edge.chat import ChatAnswer, ChatRequest
from edge.dialect import Dialect
from protocol.messages import Job


class Answering(NamedTuple):
    """How one turn is answered. `keeper`: has the answer kept before its end is told; None: nothing is kept."""

    dialect: Dialect
    keeper: Keeper | None = None


class Front(Protocol[AskedT]):
    """One dialect's way in and out."""

    async def asked(self, body: bytes, tenant: str) -> AskedT:
        """What a body asks for. Raises ServiceError."""

    def answering(self, asked: AskedT, job: Job, created: int) -> Answering:
        """What writes the answer to it. `created`: seconds since 1970."""


class ChatFront:
    """Chat completions: everything is in the body, and nothing is kept."""

    async def asked(self, body: bytes, tenant: str) -> ChatRequest:
        return chat.parse(body)

    def answering(self, asked: ChatRequest, job: Job, created: int) -> Answering:
        return Answering(
            ChatAnswer(
                turn_id=job.id,
                model=job.model,
                created=created,
                include_usage=asked.include_usage,
                legacy=asked.legacy,
            )
        )
