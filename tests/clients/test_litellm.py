"""LiteLLM's proxy as a target, as preset `litellm` has it, in each dialect that it speaks. Behind it: our own line."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench.client import fetch
from bench.polling import until
from bench.processes import ROOT, Family, free_ports
from protocol.errors import ServiceError
from protocol.messages import Finished, Frame, Job, Text, Tool, ToolCall
from protocol.settings import parse
from tests.broker.line_fixture import RealLine
from tests.workers.target_jobs import job
from workers.targets import Patience
from workers.targets.build import DIALECTS, build_upstreams
from workers.targets.connections import open_session

pytestmark = pytest.mark.asyncio(loop_scope="module")

LITELLM = ROOT / ".venv-litellm" / "bin" / "litellm"
START_S = 120.0  # it imports for seconds, on a machine that may be busy
WAIT_S = 30.0  # its first request of a dialect imports once more
KEY = "sk-of-the-proxy"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False", "NO_PROXY": "127.0.0.1"}


def configuration(upstream: str) -> dict[str, Any]:
    """Two models, behind a provider for which LiteLLM translates the other two dialects itself."""
    asked = {"api_base": f"{upstream}/v1", "api_key": "none"}
    return {
        "model_list": [
            {"model_name": model, "litellm_params": {"model": f"together_ai/{model}", **asked}}
            for model in ("echo", "echo-tools")
        ],
        "router_settings": {"disable_cooldowns": True, "num_retries": 0},
        "general_settings": {"master_key": KEY},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxy(echo_line: RealLine, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Its base URL."""
    directory: Path = tmp_path_factory.mktemp("litellm")
    told = directory / "config.yaml"
    told.write_text(json.dumps(configuration(echo_line.edges[0].url)))  # JSON is YAML
    (port,) = free_ports(1)
    family = Family(directory)
    try:
        family.start(
            "litellm", [str(LITELLM), "--config", str(told), "--host", "127.0.0.1", "--port", str(port)], QUIET
        )

        async def lives() -> bool:
            try:
                return (await fetch(f"http://127.0.0.1:{port}/health/liveliness"))[0] == 200
            except OSError:
                return False

        assert await until(lives, bool, START_S, every_s=0.2), (directory / "litellm.log").read_text()[-3000:]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await family.stop()


async def answer(proxy: str, dialect: str, model: str, told: Job, key: str = KEY) -> list[Frame]:
    """The frames of one turn."""
    text = f"""
        [targets.t]
        preset = "litellm"
        base_url = "{proxy}"
        dialect = "{dialect}"
        model = "{model}"
        api_key_env = "K"
    """
    async with open_session() as session:
        target = build_upstreams(parse(text, {}), {"K": key}, session)["t"]
        return [frame async for frame in target.stream(told, headers={}, patience=Patience(WAIT_S, WAIT_S))]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_comes_whole_with_what_it_cost(proxy: str, dialect: str) -> None:
    *spoken, last = await answer(proxy, dialect, "echo", job())

    assert "".join(frame.text for frame in spoken if isinstance(frame, Text)) == "hello there"
    assert isinstance(last, Finished)
    assert (last.reason, last.usage.completion, last.usage.estimated) == ("stop", 2, False)
    assert last.usage.prompt > 0


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_tool_is_called_with_its_arguments(proxy: str, dialect: str) -> None:
    schema = b'{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
    weather = Tool(name="get_weather", parameters=schema)

    frames = await answer(proxy, dialect, "echo-tools", job(tools=(weather,)))

    (call,) = (frame for frame in frames if isinstance(frame, ToolCall))
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "text"})
    assert isinstance(frames[-1], Finished)
    assert frames[-1].reason == "tool_calls"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_somebody_elses_key_is_refused(proxy: str, dialect: str) -> None:
    """So the right one is read where the preset puts it. Without a database LiteLLM can look up none but its own."""
    with pytest.raises(ServiceError, match="No connected db"):
        await answer(proxy, dialect, "echo", job(), key="sk-of-somebody-else")
