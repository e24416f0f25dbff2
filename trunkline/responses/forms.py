"""Stored responses as lines, for people and for programs. Pure, except that times of day are local."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from edge.response_store import StoredResponse
from trunkline.calls.forms import Column, moment, table
from trunkline.check.sizes import number, size
from trunkline.responses.items import item_lines, labelled
from trunkline.responses.reading import Kept
from trunkline.top.tables import UNKNOWN, plain


class Seen(Struct, frozen=True, kw_only=True):
    """One response, as the list has it."""

    id: str
    tenant: str
    stored_at: str
    model: str
    status: str
    items: int  # that led to it
    bytes: int
    previous_response_id: str | None


class _Usage(Struct):
    input_tokens: int = 0
    output_tokens: int = 0


class _Error(Struct):
    code: str = ""
    message: str = ""


class _Incomplete(Struct):
    reason: str = ""


class _Response(Struct):
    """What is read of the response itself."""

    id: str = UNKNOWN
    model: str = UNKNOWN
    status: str = UNKNOWN
    previous_response_id: str | None = None
    instructions: Any = None
    output: list[Raw] = []
    usage: _Usage | None = None
    error: _Error | None = None
    incomplete_details: _Incomplete | None = None


_record = msgspec.json.Decoder(StoredResponse)
_response = msgspec.json.Decoder(_Response)


def seen(kept: Kept) -> Seen | None:
    """What a record says of itself; None: it is of a version that we do not know."""
    try:
        record, response = _read(kept)
    except msgspec.DecodeError:
        return None
    return Seen(
        id=response.id,
        tenant=kept.tenant,
        stored_at=kept.at.isoformat(),
        model=response.model,
        status=response.status,
        items=len(record.items),
        bytes=len(kept.data),
        previous_response_id=response.previous_response_id,
    )


def list_lines(responses: Sequence[Seen]) -> list[str]:
    """A heading, and a line for each."""
    return table(LISTED, responses)


def list_json(responses: Sequence[Seen]) -> list[str]:
    """A line of JSON for each."""
    return [msgspec.json.encode(one).decode() for one in responses]


def show_json(kept: Kept) -> str:
    """The record as it is stored."""
    return kept.data.decode(errors="replace")


def show_lines(kept: Kept) -> list[str]:
    """What led to it, and what it says. Raises msgspec.DecodeError: it is of a version that we do not know."""
    record, response = _read(kept)
    lines = [f"response {response.id}: {_facts(kept, response)}", plain(_figures(kept, record, response)), ""]
    if isinstance(response.instructions, str) and response.instructions:
        lines += labelled("instructions", response.instructions)
    lines += [*item_lines(record.items), "", *item_lines(response.output)]
    if response.error:
        lines += labelled("error", f"{response.error.code}: {response.error.message}")
    return lines


def _facts(kept: Kept, response: _Response) -> str:
    why = f" ({response.incomplete_details.reason})" if response.incomplete_details else ""
    return plain(f"tenant {kept.tenant}, model {response.model}, {response.status}{why}")


def _figures(kept: Kept, record: StoredResponse, response: _Response) -> str:
    led = f"{number(len(record.items), 'item')} led to it"
    after = f", goes on from {response.previous_response_id}" if response.previous_response_id else ""
    usage = response.usage
    tokens = f"; tokens {usage.input_tokens} in, {usage.output_tokens} out" if usage else ""
    return f"stored {moment(kept.at.isoformat())}, {size(len(kept.data))}; {led}{after}{tokens}"


def _read(kept: Kept) -> tuple[StoredResponse, _Response]:
    """Raises msgspec.DecodeError."""
    record = _record.decode(kept.data)
    return record, _response.decode(record.response)


LISTED = (
    Column("stored", lambda one: moment(one.stored_at)),
    Column("response", lambda one: one.id),
    Column("tenant", lambda one: one.tenant),
    Column("model", lambda one: one.model),
    Column("status", lambda one: one.status),
    Column("items", lambda one: str(one.items)),
    Column("size", lambda one: size(one.bytes)),
    Column("goes on from", lambda one: one.previous_response_id or UNKNOWN),
)
