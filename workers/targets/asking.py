"""What of a job an upstream is asked for, in whatever dialect. Pure."""

from collections.abc import Collection, Iterable

import msgspec

from protocol.errors import UnsupportedParameter
from protocol.messages import Job, Json, Sampling, Tool

DEMANDS = ("tools", "tool_choice", "response_format")


def without(job: Job, refuses: Collection[str]) -> Job:
    """The job without the parameters that an upstream is never sent: most of them are a matter of taste.

    Raises:
        UnsupportedParameter: without one the answer would not be what was asked for.
    """
    if not refuses:
        return job
    insist(job, refuses)
    plain = Sampling()
    names = [name for name in Sampling.__struct_fields__ if name in refuses]
    return msgspec.structs.replace(
        job,
        sampling=msgspec.structs.replace(job.sampling, **{name: getattr(plain, name) for name in names}),
        user=None if "user" in refuses else job.user,
        parallel_tool_calls=None if "parallel_tool_calls" in refuses else job.parallel_tool_calls,
    )


def insist(job: Job, refuses: Collection[str]) -> None:
    """What a caller cannot do without. Raises UnsupportedParameter: an upstream is never sent it."""
    asked = (job.tools, job.tool_choice and job.tool_choice.mode != "auto", is_json(job))
    for name, is_asked in zip(DEMANDS, asked, strict=True):
        if is_asked and name in refuses:
            raise UnsupportedParameter(f"this model's upstream takes no {name!r}", param=name)


def refuse(unknown: Iterable[tuple[str, object]]) -> None:
    """Names of parameters that a dialect does not have, each with what is asked of it. Raises UnsupportedParameter."""
    for name, asked in unknown:
        if asked:
            raise UnsupportedParameter(f"{name!r} is not known to this model's upstream: leave it out", param=name)


def offered(job: Job) -> list[Tool]:
    """The tools that may be called. A choice among several is made by offering only those: every upstream understands
    that.
    """
    choice = job.tool_choice
    chosen = choice.names if choice is not None and choice.mode in ("named", "allowed") else None
    return [tool for tool in job.tools if chosen is None or tool.name in chosen]


def is_json(job: Job) -> bool:
    """The answer has a form."""
    return job.response_format is not None and job.response_format.kind != "text"


def is_empty(carried: Json | None) -> bool:
    """A JSON object that asks for nothing."""
    return carried is None or not carried.strip(b"{} \t\r\n")
