"""Which call is it? A call id is explicit or there is none: a hash of the history is never an identity. Pure."""

import re
from collections.abc import Iterable, Mapping

CALL_ID = re.compile(r"(?!.*\{\{)[!-~]{1,200}")  # a header and an attribute; a template that nobody filled in is none
PLATFORM_HEADERS = ("x-livekit-job-id", "x-livekit-room-id")
QUERY_NAMES = ("call_id", "conversation_id", "session_id")
NO_QUERY: Mapping[str, str] = {}
PATIENCE_MARGIN_S = 0.5  # before a client gives up, it is to hear from us
LEAST_BUDGET_S = 0.5


def call_id_of(
    headers: Mapping[str, str],
    configured: Iterable[str],
    from_body: str | None,
    from_path: str | None = None,
    query: Mapping[str, str] = NO_QUERY,
) -> str | None:
    """The call id: a configured header, a body field, the platform's own header, the path, the query, in that order."""
    said = [headers.get(name) for name in configured]
    said += [from_body, *(headers.get(name) for name in PLATFORM_HEADERS), from_path]
    said += [query.get(name) for name in QUERY_NAMES] if query else ()
    return next((value for value in said if value and CALL_ID.fullmatch(value)), None)


def budget_s_of(headers: Mapping[str, str], budget_s: float) -> float:
    """Seconds to the first content: less than `budget_s` when the client says that it waits less.

    Source: openai-python sends its read timeout, in seconds, as `x-stainless-read-timeout`.
    """
    try:
        patience_s = float(headers.get("x-stainless-read-timeout", ""))
    except ValueError:
        return budget_s
    if not 0 < patience_s < float("inf"):
        return budget_s
    return min(budget_s, max(LEAST_BUDGET_S, patience_s - PATIENCE_MARGIN_S))
