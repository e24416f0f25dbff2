"""The `responses` dialect: an upstream that speaks OpenAI's `POST /responses`. Pure.

What is asked is built in `responses_request` and `responses_input`, what comes back is read in `responses_parser`.
"""

import functools

from protocol import presets
from protocol.messages import Job
from protocol.presets import key_headers
from protocol.settings import Target
from workers.targets.chat_completions import endpoint
from workers.targets.dialect import HEADERS
from workers.targets.responses_parser import ResponsesParser
from workers.targets.responses_request import request_body
from workers.targets.seals import Seals, seals_of

PATH = presets.PATHS["responses"]

_row = functools.lru_cache(maxsize=256)(presets.row)


@functools.lru_cache(maxsize=256)
def _seals(told: Target) -> Seals | None:
    """None: it does without."""
    return None if "encrypted_reasoning" in _refuses(told) else seals_of(told)


def _refuses(told: Target) -> tuple[str, ...]:
    return _row(told).refuses + told.refuses


class Responses:
    """See `Dialect`."""

    def url(self, told: Target) -> str:
        """A preset's path, else the usual one."""
        return endpoint(told.base_url, _row(told).path or PATH)

    def headers(self, told: Target, key: str | None) -> dict[str, str]:
        """The key as the preset has it, else as a bearer's."""
        return {**HEADERS, **key_headers(_row(told), key)}

    def body(self, job: Job, told: Target) -> bytes:
        """See `responses_request`."""
        return request_body(
            job,
            model=told.model,
            prefill=told.prefill,
            max_tokens=told.max_tokens,
            refuses=_refuses(told),
            seals=_seals(told),
        )

    def parser(self, job: Job, told: Target, *, name: str, key: str | None) -> ResponsesParser:
        """See `responses_parser`."""
        return ResponsesParser(
            job_id=job.id,
            target=name,
            key=key,
            may_be_empty=bool(job.said),
            max_calls=1 if job.parallel_tool_calls is False else None,
            calls_are_checked=job.check_tools,
            thinks_first=told.thinks_first and not (job.said and told.prefill),
            is_data=job.response_format is not None and job.response_format.kind != "text",
            seals=_seals(told) if job.sampling.encrypted_reasoning else None,  # OpenAI seals unasked, too
        )


RESPONSES = Responses()
