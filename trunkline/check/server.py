"""Whether a NATS server can carry a line: its version, its limits, its room. Pure."""

import re
from typing import Any

from protocol.streams import TURNS_MAX_BYTES
from trunkline.check.findings import Finding, fail, ok, warn
from trunkline.check.sizes import size
from trunkline.listen import Server

SECTION = "nats"
LEAST_VERSION = (2, 11, 0)  # the first with `allow_msg_ttl`, without which no budget ends a job that waits
PAYLOAD_BYTES = 12 << 20  # a request body may have 8 MiB; the job made from it needs room for headers and escapes
BATCH_BYTES = 128 << 10  # workers send batches of frames of half of this
CONFIG = "deploy/nats/nats.conf"


def judge_version(server: Server) -> Finding:
    """Whether it knows all that `protocol/streams.py` asks of it."""
    least = ".".join(map(str, LEAST_VERSION))
    if parse_version(server.version) < LEAST_VERSION:
        return fail(
            SECTION,
            "version",
            f"NATS {server.version or '(unknown)'} is too old: jobs need message TTLs, which came with {least}",
            f"install nats-server {least} or newer, or let `trunkline up` run the one that it brings",
        )
    return ok(SECTION, "version", f"NATS {server.version}, {least} or newer is needed")


def parse_version(text: str) -> tuple[int, ...]:
    """`2.11.0-beta.1` → (2, 11, 0); (0,) when it is no version."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)


def judge_jetstream(server: Server) -> Finding:
    """Jobs, turn records and state live in it."""
    if server.jetstream:
        return ok(SECTION, "jetstream", "on")
    return fail(
        SECTION,
        "jetstream",
        "JetStream is off, and jobs wait in it",
        f"start the server with -js, or with a jetstream block as in {CONFIG}",
    )


def judge_payload(server: Server) -> Finding:
    """One message must hold the job of the longest request, or at least a batch of frames."""
    cure = f"set max_payload to 12MB or more, as in {CONFIG}"
    if server.max_payload < BATCH_BYTES:
        return fail(SECTION, "max_payload", f"{size(server.max_payload)} cannot hold a batch of frames", cure)
    if server.max_payload < PAYLOAD_BYTES:
        return warn(
            SECTION,
            "max_payload",
            f"{size(server.max_payload)}: a turn whose job is larger gets a 413, though edges take bodies of 8 MiB",
            cure,
        )
    return ok(SECTION, "max_payload", size(server.max_payload))


def judge_room(
    account: dict[str, Any],
    *,
    jobs_missing: int,
    jobs_bytes: int,
    turns_missing: bool,
    hooks_bytes: int = 0,
    responses_bytes: int = 0,
) -> list[Finding]:
    """Whether the streams that are still to be made fit into the account. A stream reserves its bound when it is made.

    `jobs_bytes`: the bound of one pool's jobs; `hooks_bytes` and `responses_bytes`: those of webhooks and responses,
    where their stream is missing. The server's own limits are told to nobody beforehand.
    """
    needs = {
        "memory": jobs_missing * jobs_bytes,
        "storage": (TURNS_MAX_BYTES if turns_missing else 0) + hooks_bytes + responses_bytes,
    }
    return [_judge_store(account, kind, needed) for kind, needed in needs.items()]


def _judge_store(account: dict[str, Any], kind: str, needed: int) -> Finding:
    limit = int(account.get("limits", {}).get(f"max_{kind}", -1))
    reserved = int(account.get(f"reserved_{kind}", 0))
    used = size(int(account.get(kind, 0)))
    if limit < 0:
        return ok(SECTION, kind, f"{used} used, {size(reserved)} reserved, the account has no limit")
    if needed > limit - reserved:
        return fail(
            SECTION,
            kind,
            f"streams to be made need {size(needed)}; {size(max(0, limit - reserved))} of {size(limit)} are left",
            f"raise the account's max_{kind}, or lower jobs.max_bytes (TRUNKLINE_JOBS__MAX_BYTES)",
        )
    return ok(SECTION, kind, f"{used} used, {size(reserved)} of {size(limit)} reserved")
