"""What voice platforms send: the files of `tests/fixtures`, read."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

FOLDER = Path(__file__).parent / "fixtures"


class PlatformRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """One request, and what an edge has to find in it; `tests/fixtures/README.md` explains the keys."""

    source: str
    body: Raw
    inferred: str = ""
    headers: dict[str, str] = {}
    call_id: str | None = None
    repairs: tuple[str, ...] = ()

    @property
    def data(self) -> bytes:
        """The body as it is sent."""
        return bytes(self.body)

    @property
    def fields(self) -> dict[str, Any]:
        """The body, read."""
        return msgspec.json.decode(self.body, type=dict[str, Any])


def _read(path: Path) -> PlatformRequest:
    return msgspec.json.decode(path.read_bytes(), type=PlatformRequest)


REQUESTS = {path.relative_to(FOLDER).with_suffix("").as_posix(): _read(path) for path in sorted(FOLDER.rglob("*.json"))}
"""By folder and name: `vapi/metadata-off`."""
