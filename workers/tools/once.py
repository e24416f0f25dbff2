"""At most once: what a tool did is not done again because a model asks twice. Pure.

A call that ends a conversation or hands it over is made once in it, whatever its arguments. Any other is made once
between two messages of the caller's with the same arguments: a model that reads its own history badly repeats itself.
Names of platforms' own tools decide.

Source: ElevenLabs documentation (system tools, custom LLM), Vapi documentation (default tools), LiveKit documentation
(prebuilt tools), Fish Audio documentation (call transfers), Telnyx API (kinds of assistants' tools), read in November
2026.
"""

from collections.abc import Iterable
from typing import Literal

from protocol.last_tools import ONCE_A_CALL
from protocol.messages import REPEATED, ToolCall
from protocol.settings_profiles import Gate
from workers.tools.objections import Objection, objection
from workers.tools.past import Past, same_arguments

AT_WILL = frozenset(
    (
        "skip_turn",  # ElevenLabs: a caller who thinks is waited for again and again
        *("play_keypad_touch_tone", "dtmf", "send_dtmf_events"),  # ElevenLabs, Vapi, LiveKit: menus ask for a 1 twice
    )
)

MAX_COMPARED = 32  # calls of one turn; a model that makes more of them is lost anyway

GO_ON = "Do not call it again; go on without it."


def scope_of(name: str, gate: Gate | None) -> Literal["call", "turn", "off"]:
    """How often a tool may be called."""
    if gate is not None and gate.once is not None:
        return gate.once
    if name in AT_WILL:
        return "off"
    return "call" if name in ONCE_A_CALL else "turn"


def repeats(call: ToolCall, past: Past, out: Iterable[ToolCall], gate: Gate | None) -> Objection | None:
    """What is to be said of a call that was made before. `out`: those of the running turn."""
    scope = scope_of(call.name, gate)
    running = [one for one in out if one.name == call.name]
    if scope == "call" and (running or past.may_have_done(call.name)):
        return objection(REPEATED, "the tool was called before in this conversation, where it may be once", GO_ON)
    made = [one.arguments for one in past.may_have_done(call.name) if one.turn == past.turn]
    made += [one.arguments for one in running]
    if scope == "turn" and any(same_arguments(call.arguments, one) for one in made[-MAX_COMPARED:]):
        return objection(REPEATED, "the tool was called with these arguments a moment ago", GO_ON)
    return None
