"""A line of real processes before the scripted upstream, with every clock of its profiles at the simulators' pace."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats

from protocol.codec import decode_heard, decode_record
from protocol.messages import Heard, TurnRecord
from protocol.profiles import BUILT_IN, PLAIN
from protocol.subjects import Subjects
from tests.broker.line_fixture import RealLine, real_line

PACE = 0.3
"""How long a second of a platform lasts: the shortest margin, between ElevenLabs' clock and its guard, is a second."""
SECONDS = ("guard_s", "again_s", "headers_after_s", "ping_s", "budget_s")
"""Of a profile."""
TURN = {"headers_after_s": 2.0, "ping_s": 5.0, "budget_s": 8.0, "total_s": 120.0}
FIRST_CONTENT_S, STALL_S = 1.5, 3.0

MODEL, ALONE = "front-desk", "one-target"
PATIENT = "patient-livekit"
TENANT, KEY = "desk", "sk-desk-platforms-7f"


def config(upstream_url: str) -> str:
    """`trunkline.toml`. Breakers and the share of retries have tests of their own: here every turn is tried again."""
    return "\n".join(
        [
            f"[edge]\nheaders_after_s = {TURN['headers_after_s'] * PACE}\nping_s = {TURN['ping_s'] * PACE}",
            f"[turn]\nbudget_s = {TURN['budget_s'] * PACE}\ntotal_s = {TURN['total_s'] * PACE}",
            "[breaker]\nrequests = 100000",
            *(_profile(name) for name in BUILT_IN if name != PLAIN),
            f'[profiles.{PATIENT}]\nbase = "livekit"\nheaders_after_s = {PACE}',
            f'[models.{MODEL}]\ntargets = ["first", "second"]\nretry_share = 1.0',
            f'[models.{ALONE}]\ntargets = ["first"]\nretry_share = 1.0',
            _target("first", upstream_url),
            _target("second", upstream_url),
        ]
    )


def _profile(name: str) -> str:
    """What of a built-in profile is in seconds, at our pace."""
    told = {key: getattr(BUILT_IN[name], key) for key in SECONDS}
    lines = [f"{key} = {value * PACE}" for key, value in told.items() if value is not None]
    return "\n".join([f"[profiles.{name}]", *lines])


def _target(name: str, url: str) -> str:
    return f"""
[targets.{name}]
base_url = "{url}"
model = "scripted-1"
first_content_s = {FIRST_CONTENT_S * PACE}
stall_s = {STALL_S * PACE}
prices = {{ input = 1.0, output = 4.0 }}
"""


@asynccontextmanager
async def platforms_line(directory: Path, upstream_url: str) -> AsyncIterator[RealLine]:
    """Two edges: one is open, the other wants a key. One worker."""
    path = directory / "trunkline.toml"
    path.write_text(config(upstream_url))
    async with real_line(directory, env={"TRUNKLINE_CONFIG": str(path)}) as line:
        line.add("edge")
        line.add("edge", {"TRUNKLINE_API_KEYS": f"{TENANT}:{KEY}"})
        line.add("worker")
        await line.ready()
        yield line


async def written_of(line: RealLine, call_id: str) -> tuple[list[TurnRecord], list[Heard]]:
    """A call's turns, and the amendments to them."""
    connection = await nats.connect(line.nats.url)
    try:
        jetstream = connection.jetstream()
        stream = Subjects("trunkline").turns
        state = (await jetstream.stream_info(stream)).state
        found = [await jetstream.get_msg(stream, number) for number in range(1, state.last_seq + 1)]
    finally:
        await connection.close()
    records = [decode_record(message.data or b"") for message in found if ".heard." not in (message.subject or "")]
    heard = [decode_heard(message.data or b"") for message in found if ".heard." in (message.subject or "")]
    return [one for one in records if one.call_id == call_id], [one for one in heard if one.call_id == call_id]
