"""Which model is answered by whom."""

from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.errors import ModelNotFound
from tests.workers.fake_upstream import Exchange, says, upstream
from tests.workers.target_jobs import job
from workers.targets import Target
from workers.targets.build import build_targets
from workers.targets.chat_completions import ChatCompletions, open_session
from workers.targets.echo import Echo

FILE = """
[models.front-desk]
targets = ["gpt"]
[targets.gpt]
base_url = "http://127.0.0.1:9/v1"
model = "gpt-4.1-mini"
api_key_env = "GPT_KEY"
"""


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


def built(text: str | None, environ: dict[str, str], session: ClientSession) -> Callable[[str], Target]:
    return build_targets(settings.parse(text, environ), environ, session)


async def test_without_a_file_there_are_the_built_in_models(session: ClientSession) -> None:
    target_for = built(None, {}, session)
    for name in settings.BUILTIN_MODELS:
        target = target_for(name)
        assert isinstance(target, Echo)
        assert target.name == name


async def test_a_models_target_is_named_in_the_file(session: ClientSession) -> None:
    target = built(FILE, {"GPT_KEY": "k"}, session)("front-desk")
    assert isinstance(target, ChatCompletions)
    assert (target.name, target.model) == ("gpt", "gpt-4.1-mini")


@pytest.mark.parametrize("name", ["gtp", "", "openai/", "openai/gpt", "echo "])
async def test_an_unknown_model_is_told_the_known_ones(session: ClientSession, name: str) -> None:
    with pytest.raises(
        ModelNotFound, match=r"known: echo, echo-json, echo-reasoning, echo-tools, front-desk"
    ) as raised:
        built(FILE, {}, session)(name)
    assert raised.value.param == "model"


async def test_a_long_name_is_not_said_back_whole(session: ClientSession) -> None:
    with pytest.raises(ModelNotFound) as raised:
        built(None, {}, session)("x" * 100_000)
    assert len(str(raised.value)) < 300


async def test_without_built_in_models_they_are_unknown(session: ClientSession) -> None:
    with pytest.raises(ModelNotFound, match="known: front-desk"):
        built(FILE + "[builtin]\nenabled = false\n", {}, session)("echo")


async def test_openai_models_are_passed_through_with_the_key_of_the_environment(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(says("a"))
        await exchange.end()

    async with upstream(answer) as fake:
        target_for = built(None, {"OPENAI_API_KEY": " k-1\n", "OPENAI_BASE_URL": fake.url}, session)
        for model in ("openai/gpt-4.1", "openai/org/model"):
            frames = [frame async for frame in target_for(model).stream(job(), headers={})]
            assert frames
    assert [exchange.json["model"] for exchange in fake.seen] == ["gpt-4.1", "org/model"]
    assert {exchange.headers["authorization"] for exchange in fake.seen} == {"Bearer k-1"}


async def test_a_target_without_a_key_sends_none(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(503)

    async with upstream(answer) as fake:
        environ = {"TRUNKLINE_UPSTREAM__URL": fake.url, "TRUNKLINE_UPSTREAM__MODEL": "m"}
        with pytest.raises(Exception, match="503"):
            _ = [frame async for frame in built(None, environ, session)("upstream").stream(job(), headers={})]
    assert "authorization" not in fake.seen[0].headers
