"""The `messages` dialect: an upstream that speaks Anthropic's `POST /v1/messages`. Pure.

What is asked is built in `messages_request` and `messages_history`, what comes back is read in `messages_parser`.
"""

import functools
from urllib.parse import urlsplit

from protocol import presets
from protocol.messages import Job
from protocol.presets import key_headers
from protocol.settings import Target
from workers.targets.chat_completions import endpoint
from workers.targets.dialect import HEADERS
from workers.targets.messages_parser import MessagesParser
from workers.targets.messages_request import request_body

PATH = presets.PATHS["messages"]
VERSION = "2023-06-01"  # the only one that is served; each request has to name it

_row = functools.lru_cache(maxsize=256)(presets.row)


class Messages:
    """See `Dialect`."""

    def url(self, told: Target) -> str:
        """A preset's path, else the usual one. Anthropic's own clients are told a base URL without `/v1`: so may we."""
        path = _row(told).path or PATH
        return endpoint(told.base_url, path if urlsplit(told.base_url).path.strip("/") else f"/v1{PATH}")

    def headers(self, told: Target, key: str | None) -> dict[str, str]:
        """The key as the preset has it, else as Anthropic wants it."""
        return {**HEADERS, "anthropic-version": VERSION, **key_headers(_row(told), key)}

    def body(self, job: Job, told: Target) -> bytes:
        """See `messages_request`."""
        return request_body(
            job,
            model=told.model,
            prefill=told.prefill,
            max_tokens=told.max_tokens,
            stop=told.stop,
            refuses=_row(told).refuses + told.refuses,
        )

    def parser(self, job: Job, told: Target, *, name: str, key: str | None) -> MessagesParser:
        """See `messages_parser`."""
        return MessagesParser(
            job_id=job.id,
            target=name,
            key=key,
            may_be_empty=bool(job.said),
            max_calls=1 if job.parallel_tool_calls is False else None,
            calls_are_checked=job.check_tools,
            thinks_first=told.thinks_first and not (job.said and told.prefill),
            is_data=job.response_format is not None and job.response_format.kind != "text",
        )


MESSAGES = Messages()
