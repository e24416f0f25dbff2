"""A caller whose words order what the upstream does."""

import secrets
from typing import Any

import aiohttp

from tests.platforms.clients import Call, Turn
from tests.platforms.platforms import PLATFORMS
from tests.platforms.verdict import Verdict, verdict


class Caller:
    """One call, whose turns the upstream knows by `tag`."""

    def __init__(self, web: aiohttp.ClientSession, base_url: str, name: str, **how: Any) -> None:
        self.tag = secrets.token_hex(4)
        self.call = Call(PLATFORMS[name], web, base_url, **how)

    async def says(self, acts: str, hear: int | None = None, posts: int = 1) -> Turn:
        said = f"What are your hours? ({self.tag}/{len(self.call.turns) + 1} {acts})"
        return await self.call.turn(said, hear=hear, posts=posts)

    @property
    def verdict(self) -> Verdict:
        return verdict(self.call.turns)
