"""Jobs for the tests of targets."""

from typing import Any

from protocol.messages import Job, Message


def user(text: str) -> Message:
    return Message(role="user", content=text)


def job(text: str = "hello there", **fields: Any) -> Job:
    """One turn in which the user says `text`, with whatever else is set."""
    told: dict[str, Any] = {"id": "turn-1", "model": "m", "messages": (user(text),), "budget_ms": 8000}
    return Job(**{**told, "total_ms": 60_000, **fields})
