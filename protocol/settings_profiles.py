"""[profiles.…], [tenants.…], [tools.…] and [hooks]: what a voice platform expects of a turn, as frozen Structs.

The built-in profiles are the table in `protocol.profiles`; `protocol.settings_voice` reads those of a file.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol.settings_values import Count, Grace, Language, Number, Pause, Seconds, Variable, Words

Fillers = Annotated[
    dict[Language, tuple[Words, ...]], Meta(description='lists of sentences by language, such as en = ["One moment"]')
]
Sentences = Annotated[
    dict[Language, Words], Meta(description='a sentence by language, such as en = "Sorry, could you say that again?"')
]
Values = Annotated[
    dict[str, tuple[str, ...]],
    Meta(description='lists of the values that an argument may have, such as transfer_number = ["+15550100"]'),
]


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one voice platform expects of its backend. The defaults are those of `openai`, the plain one.

    A table in a file says what differs from its `base`; sentences and fillers differ by language. Before the first
    content the edge says what `guard` lists, in this order, the last of it again and again as far as fillers go.
    """

    base: Words = "openai"  # what it does not say, it has from there
    guard: tuple[Literal["space", "filler"], ...] = ()  # what the edge says while no content comes, in this order
    guard_s: Pause = 3.0  # from the request to the first of them
    again_s: Pause = 4.0  # from one to the next
    fillers: Fillers = {}
    fillers_per_turn: Number = 2  # at most
    fillers_per_call: Number = 12  # at most, where the turns carry a call id
    fillers_beside_tools: bool = True  # also where tools are offered, so that the turn may be a call alone
    flush: bool = False  # a filler is followed by Vapi's mark that has it spoken at once
    headers_after_s: Seconds | None = None  # a status line waits this long for the first content; None: the edge's
    ping_s: Grace | None = None  # between comments of a silent stream; 0: none; None: the edge's
    budget_s: Seconds | None = None  # to the first content; None: the turn's
    on_lost: Literal["error", "finish", "continue"] | None = None  # after the caller heard something; None: the turn's
    early_failure: Literal["status", "say"] = "status"  # before the headers: an HTTP status, or the sentence
    late_failure: Literal["error", "say"] = "error"  # after them: an error event, or the sentence
    on_empty: Literal["error", "say", "silence"] = "error"  # an answer with nothing in it, twice
    sentences: Sentences = {}  # said where a turn fails
    language: Language = "en"  # where the call does not show its own
    check_tools: bool = False  # calls are held against their schema, [tools] and what was called before
    clean_markup: bool = False  # tool calls and marks that a model leaks into its text are taken out of it


class Tenant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for the requests that come with one API key."""

    profile: Words | None = None  # of those that name no other


class Gate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a tool may be called. What does not pass is withheld, and the model is asked once more."""

    once: Literal["call", "turn", "off"] | None = None  # None: by the name, in `workers.tools.once`; else `turn`
    not_before_turn: Number = 0  # counted by what the caller has said
    after: tuple[Words, ...] = ()  # tools that must have been called before, with a result that is known and no error
    allowed: Values = {}  # the values that its arguments may have
    placeholders: bool = False  # true: an argument may be a word such as "placeholder" or "{{name}}"


class HooksSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What platforms send after a call."""

    elevenlabs_secret_env: Variable | None = None  # holds the webhook's shared secret; None: there is no such path
    window_s: Seconds = 1800.0  # an older signature, or one from further ahead, is none
    keep_audio: bool = False  # false: post_call_audio is taken and dropped
    max_age_s: Count = 30 * 86_400  # of what is kept
    max_bytes: Count = 1 << 30
