"""The `chat-completions` dialect: an upstream that speaks OpenAI's `POST /chat/completions`. Pure.

What is asked is built in `chat_request`, what comes back is read in `chat_parser`.
"""

import functools
from urllib.parse import quote, urlsplit, urlunsplit

from protocol import presets
from protocol.messages import Job
from protocol.presets import key_headers
from protocol.settings import Target
from workers.targets.chat_parser import ChatParser
from workers.targets.chat_request import request_body
from workers.targets.dialect import HEADERS

PATH = presets.PATHS["chat-completions"]

_row = functools.lru_cache(maxsize=256)(presets.row)


def endpoint(base_url: str, path: str = PATH) -> str:
    """The URL to post to: `base_url` may end in a slash, or be that URL already. `path` may end in a query."""
    parts, (path, _, query) = urlsplit(base_url), path.partition("?")
    base = parts.path.rstrip("/")
    query = "&".join(filter(None, (parts.query, query)))
    return urlunsplit(parts._replace(path=base if base.endswith(path) else base + path, query=query))


class ChatCompletions:
    """See `Dialect`."""

    def url(self, told: Target) -> str:
        """A preset's path, else the usual one."""
        path = _row(told).path or PATH
        names = {"model": told.model, "api_version": told.api_version or ""}
        return endpoint(told.base_url, path.format(**{name: quote(value, safe="") for name, value in names.items()}))

    def headers(self, told: Target, key: str | None) -> dict[str, str]:
        """The key as the preset has it, else as a bearer's."""
        return {**HEADERS, **key_headers(_row(told), key)}

    def body(self, job: Job, told: Target) -> bytes:
        """See `chat_request`."""
        row = _row(told)
        return request_body(
            job,
            model=told.model,
            prefill=told.prefill,
            max_tokens_field=told.max_tokens_field or row.max_tokens_field,
            max_tokens=told.max_tokens,
            stop=told.stop,
            refuses=row.refuses + told.refuses,
            asks_usage=row.stream_usage == "stream_options",
        )

    def parser(self, job: Job, told: Target, *, name: str, key: str | None) -> ChatParser:
        """See `chat_parser`."""
        return ChatParser(
            job_id=job.id,
            target=name,
            key=key,
            may_be_empty=bool(job.said),
            max_calls=1 if job.parallel_tool_calls is False else None,
            calls_are_checked=job.check_tools,
            thinks_first=told.thinks_first and not (job.said and told.prefill),
            is_data=job.response_format is not None and job.response_format.kind != "text",
        )


CHAT_COMPLETIONS = ChatCompletions()
