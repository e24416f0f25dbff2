"""What each voice platform expects of its backend: the built-in profiles, a table.

Three clocks watch a stream: some platforms count bytes (LiveKit: comments will do), some content (ElevenLabs: a single
space is enough, an empty delta or a comment is not), some progress (Vapi: what it got is not spoken while the stream
stands still). Every figure leaves a margin to the clock it is made for: the edge counts from the last byte of the
request, the platform from its first, and what the edge says has to travel.

Source: ElevenLabs documentation and Python SDK 2.78 (custom LLM, cascade), LiveKit Agents 1.7, Pipecat 1.7 and
openai-python 3.52 (their own code), Vapi documentation and SDK 3.0 (custom LLM, flush), Fish Audio documentation,
Deepgram API specification, all read in November 2026; operators' reports where the vendors say nothing.
"""

from msgspec.structs import replace

from protocol.settings_profiles import Profile

PLAIN = "openai"
CONTENT_CLOCK_S = {"elevenlabs": 4.0, "vapi": 20.0, "fish": 10.0}
"""How long a platform waits for the first content, as it is set unless its user sets something else."""
BYTE_CLOCK_S = {"livekit": 10.0}
"""How long it waits between two bytes, and for the first one."""

FILLERS: dict[str, tuple[str, ...]] = {
    "en": ("One moment", "Let me see", "Just a second"),
    "de": ("Einen Moment", "Einen Augenblick", "Ich sehe kurz nach"),
    "es": ("Un momento", "Un segundo", "Déjeme ver"),
    "fr": ("Un instant", "Un moment", "Je regarde"),
    "it": ("Un momento", "Un attimo", "Vediamo"),
    "nl": ("Een moment", "Een ogenblik", "Even kijken"),
    "pl": ("Chwileczkę", "Jedną chwilę", "Już sprawdzam"),
    "pt": ("Um momento", "Um instante", "Deixe-me ver"),
}
"""They promise nothing and hold nothing that is wrong before any answer; the code adds the `"... "`."""

SENTENCES = {
    "en": "Sorry, could you say that again?",
    "de": "Entschuldigung, könnten Sie das noch einmal sagen?",
    "es": "Disculpe, ¿podría repetirlo?",
    "fr": "Pardon, pourriez-vous répéter ?",
    "it": "Mi scusi, può ripetere?",
    "nl": "Sorry, kunt u dat herhalen?",
    "pl": "Przepraszam, czy można prosić o powtórzenie?",
    "pt": "Desculpe, pode repetir?",
}
"""A caller who says it again begins a new turn, which finds the line well again more often than not."""

OPENAI = Profile()
"""For API clients: they read statuses and error events, and nobody listens to their silence."""

VOICE = Profile(
    guard=("filler",),
    guard_s=3.0,  # callers begin to ask whether anybody is there; and below the shortest clock that is known, 4 s
    again_s=4.0,  # the second comes at 7 s, before the turn's budget of 8 s ends the waiting
    fillers=FILLERS,
    fillers_per_turn=2,  # a third sounds like a machine that hangs
    fillers_per_call=12,
    on_lost="continue",  # nothing is said twice, and most answers come to their end
    early_failure="say",  # a status ends the call, or is silence
    late_failure="say",  # an error event is silence
    on_empty="say",  # platforms take an empty answer for a failure, some hang up on it
    sentences=SENTENCES,
    check_tools=True,  # they act on a call at once: nobody looks at it before
    clean_markup=True,  # whatever is in the text is spoken
)
"""What all voice platforms have in common; those that publish no clock have nothing else."""

BUILT_IN: dict[str, Profile] = {
    PLAIN: OPENAI,
    # Its cascade_timeout_seconds (4, from 2 to 15) runs to the first content, three times, then the call ends. A space
    # stops it and nobody hears it, so that the filler can wait for those turns that are slow indeed. Comments and empty
    # deltas do not count, so the headers leave with the space.
    "elevenlabs": replace(VOICE, guard=("space", "filler"), again_s=2.0, headers_after_s=3.0, ping_s=0.0),
    "assemblyai": VOICE,
    # Its client waits 10 s for each byte, the headers' too, and tries a turn four times while nothing was heard: a
    # status that comes early is worth more than a sentence, and after half of the 10 s the sentence is. Comments keep
    # it waiting; the agent itself has words for a long wait.
    "livekit": replace(VOICE, guard=(), headers_after_s=5.0, ping_s=5.0, early_failure="status"),
    # openai-python waits for ten minutes and tries a status three times. With retry_on_timeout Pipecat asks again when
    # no headers have come after 5 s: they leave with the filler.
    "pipecat": replace(VOICE, guard_s=4.0, headers_after_s=4.0, early_failure="status"),
    # It waits 20 s for the first token (timeoutSeconds), so the turn may take longer than others. Its speech stands
    # still while the stream does, and a filler that is then spoken late comes out garbled: it is the last resort, with
    # the mark that has it spoken at once. Comments make no difference.
    "vapi": replace(VOICE, guard_s=8.0, headers_after_s=8.0, budget_s=15.0, flush=True, ping_s=0.0),
    # It gives an answer 10 s and tries once more, and hangs up after three failures in a row: half of that leaves the
    # model time to speak after the filler.
    "fish": replace(VOICE, guard_s=5.0),
    # It warns its user at 5 s, 10 s, … and keeps the call.
    "deepgram": VOICE,
    "telnyx": VOICE,
}
