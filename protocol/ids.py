"""Identities, drawn at random."""

import secrets

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # no 0/o, 1/l: people read these aloud


def new_id(length: int = 10) -> str:
    """A name for a process: of an edge or a worker, drawn at its start, after any fork."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def new_turn_id() -> str:
    """A name for a turn; the caller gets it as `x-request-id`."""
    return f"turn_{secrets.token_hex(12)}"
