"""A request's path -> which route of the API it means, and the secret, call id and profile that it carries. Pure.

Platforms differ in what they append to the URL that they are told, and guides differ in what they have one tell them:
whatever leaves no doubt is served.

Source: ElevenLabs' custom LLM guides name base URLs, its SDK's example a whole one, and `/chat/completions` is appended
to either; openai-python and LiveKit's plug-in ask for `<base URL>/models`.
"""

from collections import deque
from collections.abc import Container, Sequence
from typing import NamedTuple
from urllib.parse import unquote

CHAT, MODELS, MODEL = "/v1/chat/completions", "/v1/models", "/v1/models/{id}"
RESPONSES, RESPONSE = "/v1/responses", "/v1/responses/{id}"
CANCEL, INPUT_ITEMS = "/v1/responses/{id}/cancel", "/v1/responses/{id}/input_items"
BASE = "/v1"  # of all these; nothing is there
HOOK = "/hooks/elevenlabs"
SOCKET_ROUTES = (CHAT, RESPONSES, RESPONSE)
SECRET, CALL, PROFILE = "t", "c", "p"
WORDS = {
    "",
    "v1",
    "chat",
    "completions",
    "responses",
    "cancel",
    "input_items",
    "models",
    "health",
    "ready",
    "metrics",
    "docs",
    "openapi.json",
    "hooks",
    "elevenlabs",
} | {SECRET, CALL, PROFILE}
STARTS = {"v1", "chat", "responses", "models"}  # of what follows a secret, a call id or a profile
SHOWN_STEPS = 12


class Place(NamedTuple):
    """Where a request goes. `route` is its name in spans and errors: nothing in it was chosen by a caller."""

    route: str
    secret: str | None = None
    call_id: str | None = None
    model: str = ""
    profile: str | None = None
    response_id: str = ""

    def __repr__(self) -> str:
        return f"Place({self.route!r})"


def read(path: str) -> Place | None:
    """The place that a path, percent-encoded as it came, means; None: it is none of the API's.

    `/t/<secret>`, `/c/<call id>` and `/p/<profile>` may stand in front, in any order. After them `/v1` and
    `/chat/completions` or `/responses` may be missing or doubled where the rest says what is meant. Empty
    segments count for nothing.
    """
    said, steps = _told(path)
    found = _route(steps)
    if found is None:
        return None
    return found._replace(
        secret=said.get(SECRET) or None, call_id=said.get(CALL) or None, profile=said.get(PROFILE) or None
    )


def socket_route(path: str) -> str | None:
    """Where an agent that looks for the API's WebSocket has come: to a dialect's path, or to a base URL alone. None:
    anywhere else.
    """
    _, steps = _told(path)
    if all(step == "v1" for step in steps):
        return BASE
    found = _route(steps)
    return found.route if found is not None and found.route in SOCKET_ROUTES else None


def _told(path: str) -> tuple[dict[str, str], list[str]]:
    """What stands in front, by its name, and the steps that follow."""
    steps = deque(unquote(step) for step in path.split("/"))
    said: dict[str, str] = {}
    while steps and (not steps[0] or (steps[0] in (SECRET, CALL, PROFILE) and steps[0] not in said)):
        if name := steps.popleft():
            said[name] = _value(steps)
    return said, [step for step in steps if step]


def other(path: str, known: Container[str]) -> Place | None:
    """One of the paths that are taken as they are; behind the webhook's, which people type, may be slashes."""
    path = HOOK if path.rstrip("/") == HOOK else path
    return Place(path) if path in known else None


def _value(steps: deque[str]) -> str:
    """The value that stands next. Where it is missing, as a platform leaves it whose variable is empty, there is none:
    what follows is not taken for it.
    """
    return steps.popleft() if steps and steps[0] not in STARTS else ""


def _route(steps: Sequence[str]) -> Place | None:
    """The route and, of one model's or response's, its id."""
    route, at = "", 0
    while at < len(steps):
        if steps[at] == "v1":
            at += 1
        elif steps[at : at + 2] == ["chat", "completions"]:
            route = CHAT
            at += 2
        elif steps[at] == "responses":
            route = RESPONSES
            at += 1
        elif steps[at] == "models":
            model = "/".join(steps[at + 1 :])
            return Place(MODEL, model=model) if model else Place(MODELS)
        else:
            return _one_response(steps[at:]) if route == RESPONSES else None
    return Place(route) if route else None


def _one_response(steps: Sequence[str]) -> Place | None:
    """What stands behind `/responses`: an id, and perhaps what is wanted of it."""
    match list(steps):
        case ["compact" | "input_tokens"]:  # of OpenAI's API, and no ids
            return None
        case [id_]:
            return Place(RESPONSE, response_id=id_)
        case [id_, "cancel"]:
            return Place(CANCEL, response_id=id_)
        case [id_, "input_items"]:
            return Place(INPUT_ITEMS, response_id=id_)
    return None


def shown(path: str) -> str:
    """A path for a message: only words of ours, because any other may be a secret, in its place or in a wrong one."""
    steps = path.split("/")
    short = [*steps[:SHOWN_STEPS], "…"] if len(steps) > SHOWN_STEPS else steps
    return "/".join(step if step in WORDS else "…" for step in short)
