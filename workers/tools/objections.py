"""Why a tool call does not go out: a word for records and metrics, and sentences for the model that made it. Pure."""

from typing import NamedTuple

from protocol.messages import REPEATED

INVALID = "invalid"  # no such tool, or arguments that its schema does not allow
TOO_EARLY, NOT_AFTER = "too_early", "not_after"
NOT_ALLOWED, PLACEHOLDER = "not_allowed", "placeholder"

REASONS = (INVALID, REPEATED, TOO_EARLY, NOT_AFTER, NOT_ALLOWED, PLACEHOLDER)
CURABLE = frozenset((INVALID, NOT_ALLOWED, PLACEHOLDER))
"""With other arguments the same call may go out; where it is any other reason, the model shall go on without it."""

MOOT = frozenset((REPEATED, TOO_EARLY))
"""Without the call there is nothing left but words: where some were spoken already, nobody need ask for more."""

NOT_DONE = "This call was not carried out: "


class Objection(NamedTuple):
    """`words` go to the model as the call's result. They may name arguments, never what these hold."""

    reason: str
    words: str


def objection(reason: str, why: str, cure: str) -> Objection:
    """One in the usual form: what is wrong, and what to do instead."""
    return Objection(reason, f"{NOT_DONE}{why}. {cure}")
