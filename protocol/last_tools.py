"""Tools of the platforms' own after which a conversation has ended, or somebody else has it: nothing is to follow.

Names decide, never parts of names: `transfer_funds` hands nobody over.

Source: ElevenLabs documentation (system tools, custom LLM), Vapi documentation (default tools), LiveKit documentation
(prebuilt tools), Fish Audio documentation (call transfers), Telnyx API (kinds of assistants' tools), read in November
2026.
"""

HANDS_OVER = frozenset(
    (
        *("transfer_to_agent", "transfer_to_number"),  # ElevenLabs
        "transferCall",  # Vapi
        "transfer_call",  # Fish Audio
        "handoff",  # Telnyx
    )
)
ENDS = frozenset(
    (
        "end_call",  # ElevenLabs, LiveKit
        "endCall",  # Vapi
        "hangup",  # Telnyx
    )
)
ONCE_A_CALL = HANDS_OVER | ENDS
"""They act at once: the first call has done it."""
