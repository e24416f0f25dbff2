"""What led to a stored response, page by page, in the form in which OpenAI lists it. Pure.

Source: OpenAI API reference, "List input items"; its OpenAPI document, ResponseItemList.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from protocol.errors import IntegerAboveMax, IntegerBelowMin, InvalidType, InvalidValue

LIMIT, MAX_LIMIT = 20, 100
ORDERS = ("asc", "desc")
MAX_DIGITS = 18  # of a number in a query
TEXT_OF = {"assistant": "output_text"}  # what a text of this role is called; of any other role `input_text`

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def listed(items: Sequence[Raw], query: Mapping[str, str]) -> bytes:
    """One page as a JSON body. `items`: oldest first. Newest first unless `order` says otherwise; `after` and `before`
    name items between which it lies.

    Raises:
        ServiceError: a value in the query is none; `param` names it.
    """
    limit, order = _limit(query.get("limit")), query.get("order", "desc")
    if order not in ORDERS:
        raise InvalidValue("'order' is 'asc' or 'desc'", param="order")
    whole = [full(_decode(item)) for item in items]
    if order == "desc":
        whole.reverse()
    page, has_more = _page(whole, query, limit)
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return _encode({"object": "list", "data": page, **ends, "has_more": has_more})


def _page(whole: list[dict[str, Any]], query: Mapping[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """What follows `after`; with `before` alone what comes right before it. And whether there is more that way."""
    after, before = query.get("after"), query.get("before")
    start = _at(whole, after, "after") + 1 if after else 0
    end = _at(whole, before, "before") if before else len(whole)
    between = whole[start:end]
    page = between[-limit:] if before and not after else between[:limit]
    return page, len(page) < len(between)


def _at(whole: list[dict[str, Any]], item_id: str, param: str) -> int:
    for at, item in enumerate(whole):
        if item["id"] == item_id:
            return at
    raise InvalidValue(f"'{param}' is the id of an item of this response; there is none of that id", param=param)


def _limit(said: str | None) -> int:
    if not said:
        return LIMIT
    digits = said.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS):
        raise InvalidType(f"'limit' is a whole number from 1 to {MAX_LIMIT}", param="limit")
    limit = int(said)
    if limit < 1:
        raise IntegerBelowMin(f"'limit' is at least 1, and at most {MAX_LIMIT}", param="limit")
    if limit > MAX_LIMIT:
        raise IntegerAboveMax(f"'limit' is at most {MAX_LIMIT}", param="limit")
    return limit


def full(item: dict[str, Any]) -> dict[str, Any]:
    """An item with all that OpenAI's own has: its type, its status, and a message's content as parts."""
    kind = item.get("type") or "message"
    whole = {"id": item.get("id", ""), "type": kind, **({} if kind == "reasoning" else {"status": "completed"})}
    whole |= {key: value for key, value in item.items() if value is not None or key not in whole}
    if kind == "message":
        whole["content"] = _parts(item.get("content"), TEXT_OF.get(str(item.get("role")), "input_text"))
    return whole


def _parts(content: object, text: str) -> list[Any]:
    if isinstance(content, str):
        return [_part({"type": text, "text": content}, text)]
    return [_part(part, text) for part in content] if isinstance(content, list) else []


def _part(part: Any, text: str) -> Any:
    """A part as OpenAI's types demand it."""
    if not isinstance(part, dict):
        return part
    match part.get("type"):
        case "text" | "input_text" | "output_text":
            more: dict[str, Any] = {"annotations": [], "logprobs": []} if text == "output_text" else {}
            return {**more, **part, "type": text}
        case "input_image":
            return {"detail": "auto", **{key: value for key, value in part.items() if value is not None}}
    return part
