"""docs/tracing.md, typed from top to bottom: what it searches for is found."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from bench.polling import until
from tests.docs.pages import ROOT, Command, read
from tests.docs.session import Session
from tests.jaeger.server import SETTLE_S, Jaeger

STARTS_JAEGER = ("make", ".jaeger/jaeger")  # done already


async def test_the_searches_of_the_page_find_the_turn_that_the_page_has_made(jaeger: Jaeger, tmp_path: Path) -> None:
    ports = {"4318": urlsplit(jaeger.otlp).port or 0, "16686": urlsplit(jaeger.url).port or 0}
    session = Session(tmp_path, ports)
    searches = 0
    try:
        for command in read(ROOT / "docs" / "tracing.md").commands:
            if "api/traces" in command.text:
                await _finds(session, command)
                searches += 1
            elif command.words[0] not in STARTS_JAEGER:
                await session.run(command)
    finally:
        await session.close()
    assert searches == 3


async def _finds(session: Session, command: Command) -> None:
    async def found() -> int:
        return len(json.loads(await session.run(command))["data"])

    assert await until(found, bool, SETTLE_S), command
