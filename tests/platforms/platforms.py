"""What each platform's client does with an answer that is late, empty, refused or cut: a table.

Sources, read in November 2026. ElevenLabs: its documentation, guides/cascade (three attempts at least; API errors,
timeouts and empty responses are failures), elevenlabs for Python 2.78.0 (cascade_timeout_seconds, 2 to 15), and what
users have measured (github.com/elevenlabs/packages/issues/1005: only content stops the clock, each request cancels the
one before). LiveKit: livekit-agents 1.7.0, types.py, llm/llm.py, _exceptions.py, voice/turn.py. Pipecat: pipecat-ai
1.7.0, services/openai/base_llm.py, and the OpenAI library's _base_client.py. Vapi: its SDK for Python 3.0.0,
types/custom_llm_model.py (timeoutSeconds) and the reasons that calls end for. Fish Audio: docs.fish.audio,
agents/build/custom-llm, failure behaviour. Deepgram: deepgram-api-specs, agent.think, SLOW_THINK_REQUEST and
THINK_REQUEST_FAILED. AssemblyAI and Telnyx publish no rule: there the caller's own patience is the only one.
"""

from typing import Literal

from msgspec import Struct

CALLER_S = 30.0
"""Where a platform has no clock of its own: the caller's. Nobody listens to silence for longer."""
CALLER_TURNS = 2
"""Where a platform drops no call: after so many turns in a row in which nothing was said nor done, the caller does."""


class Platform(Struct, frozen=True, kw_only=True):
    """One platform's rules. Seconds are the platform's own; a call runs at a pace of its own."""

    name: str
    watches: Literal["content", "bytes"]
    """What its clock waits for: the first content or tool call; or any byte, again and again."""
    patience_s: float
    tries: int = 1  # requests for one turn
    waits_s: tuple[float, ...] = (0.0,)  # before the second request, the third …; the last one counts on
    retries: Literal["all", "livekit", "openai"] = "all"  # which failures, while nothing was received
    empty_fails: bool = False  # an answer without content and without a call is a failure
    drops_after: int | None = None  # failed turns in a row; None: the caller decides
    hold_line: str = ""  # spoken by the platform where a turn has failed
    warns_every_s: float | None = None  # a warning, and no more
    flush: bool = False  # reads Vapi's mark within the text
    calls: Literal["plain", "livekit", "pipecat"] = "plain"  # how tool calls are put together
    speculates: bool = False  # asks while the caller still speaks, and hangs up on that
    marks_cuts: bool = False  # an answer that the caller cut ends in "..." from then on
    system_role: str = "system"
    end_tool: str = "end_call"
    transfer_tool: str = "transfer_to_agent"


PLATFORMS: dict[str, Platform] = {
    platform.name: platform
    for platform in (
        Platform(
            name="elevenlabs",
            watches="content",
            patience_s=4.0,
            tries=3,
            empty_fails=True,
            drops_after=1,
            marks_cuts=True,
        ),
        Platform(name="assemblyai", watches="content", patience_s=CALLER_S),
        Platform(
            name="livekit",
            watches="bytes",
            patience_s=10.0,
            tries=4,
            waits_s=(0.1, 2.0),
            retries="livekit",
            drops_after=3,
            calls="livekit",
            speculates=True,
        ),
        Platform(
            name="pipecat",
            watches="content",
            patience_s=CALLER_S,
            tries=3,
            waits_s=(0.5, 1.0),
            retries="openai",
            calls="pipecat",
            system_role="developer",
        ),
        Platform(
            name="vapi",
            watches="content",
            patience_s=20.0,
            drops_after=1,
            flush=True,
            end_tool="endCall",
            transfer_tool="transferCall",
        ),
        Platform(
            name="fish",
            watches="content",
            patience_s=10.0,
            tries=2,
            empty_fails=True,
            drops_after=3,
            hold_line="One moment please.",
        ),
        Platform(
            name="deepgram",
            watches="content",
            patience_s=25.0,
            warns_every_s=5.0,
            speculates=True,
        ),
        Platform(name="telnyx", watches="content", patience_s=CALLER_S),
    )
}


def retries(platform: Platform, status: int, headers: dict[str, str]) -> bool:
    """Whether it asks again after a failure with this status (0: no answer at all), while it has tries left."""
    if platform.retries == "all" or not status:
        return True
    if platform.retries == "livekit":
        return status in (408, 429, 499) or not 400 <= status < 500
    told = headers.get("x-should-retry")
    return told == "true" if told in ("true", "false") else status in (408, 409, 429) or status >= 500
