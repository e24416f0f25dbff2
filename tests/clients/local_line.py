"""A line with the real local model, and what can be asked of llama.cpp's server itself."""

import json
from pathlib import Path
from typing import Any

from msgspec import Struct
from openai import AsyncOpenAI

from bench.client import fetch
from bench.polling import until
from bench.processes import Process
from tests.cli.conftest import Terminal

START_S = 120.0  # a model is loaded, on a machine that may be busy
SETTLE_S = 10.0
ENDS = (1, *range(106, 139))  # Gemma's tokens for the end of a text or turn, and for line breaks
ENDLESS = {str(token): -100 for token in ENDS}
"""As `logit_bias`: the model cannot stop."""


class LocalLine(Struct):
    """One `trunkline up --local-model`."""

    process: Process
    said: dict[str, Any]

    @property
    def client(self) -> AsyncOpenAI:
        """A caller. Close it, or use it as a context manager."""
        return AsyncOpenAI(base_url=f"{self.said['url']}/v1", api_key="none", max_retries=0, timeout=SETTLE_S * 6)

    def logs(self) -> dict[str, str]:
        """What its processes have written, by the name of the file."""
        files = Path(self.said["data_dir"]).glob("logs/*.log")
        return {file.name: file.read_text(errors="replace") for file in files}

    async def at_work(self) -> int:
        """How many of llama.cpp's slots generate."""
        _, body = await fetch(f"{self.said['local_model']}/slots")
        return sum(slot["is_processing"] for slot in json.loads(body))

    async def template(self) -> str:
        """The chat template that the model is used with."""
        _, body = await fetch(f"{self.said['local_model']}/props")
        return str(json.loads(body)["chat_template"])

    async def idle(self) -> None:
        """Wait until llama.cpp generates nothing. Raises AssertionError."""
        assert await until(self.at_work, lambda slots: slots == 0, SETTLE_S) == 0


class LocalTerminal(Terminal):
    """Somewhere to type `trunkline up --local-model …`; the joined model is there already."""

    def __init__(self, directory: Path, data_dir: Path) -> None:
        super().__init__(directory)
        self.data_dir = data_dir

    def type(self, command: str) -> Process:
        """Start `trunkline <command>`; a machine that is busy with other tests has its time."""
        return self.start(command, TRUNKLINE_DATA_DIR=str(self.data_dir), TRUNKLINE_TURN__BUDGET_S="60")

    async def up(self, options: str = "--local-model --ephemeral") -> LocalLine:
        """A line that is ready."""
        process = self.type(f"up --json --port 0 {options}")
        return LocalLine(process, await process.first_line(START_S))
