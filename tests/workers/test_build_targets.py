"""Which model is answered by whom, and what is known of them."""

from collections.abc import AsyncIterator, Mapping

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.errors import ModelNotFound, UpstreamError
from protocol.messages import Sampling
from tests.workers.fake_upstream import Exchange, says, upstream
from tests.workers.target_jobs import job
from workers.routes import Choice
from workers.targets import Patience
from workers.targets.build import DIALECTS, Models, build_upstreams
from workers.targets.connections import open_session
from workers.targets.echo import Echo
from workers.targets.upstream import Upstream

FILE = """
[models.front-desk]
targets = ["gpt", "claude"]
[targets.gpt]
base_url = "http://127.0.0.1:9/v1"
model = "gpt-4.1-mini"
api_key_env = "GPT_KEY"
hedge_after_s = 0.5
prices = { input = 1.0, output = 2.0 }
[targets.claude]
base_url = "http://127.0.0.1:9/v1"
model = "claude"
dialect = "messages"
"""
PATIENCE = Patience(8.0, 60.0)
NOW = 100.0


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


class Told:
    """Which breakers have been told of."""

    def __init__(self) -> None:
        self.open: dict[str, bool] = {}

    def breaker(self, target: str, is_open: bool) -> None:
        self.open[target] = is_open


def built(text: str | None, environ: Mapping[str, str], session: ClientSession, told: Told | None = None) -> Models:
    return Models(settings.parse(text, environ), environ, session, on_breaker=(told or Told()).breaker)


def open_breaker(choice: Choice) -> None:
    choice.breaker.failed(choice.breaker.begin(NOW), NOW, 30.0)


async def test_a_target_knows_what_it_can_be_told(session: ClientSession) -> None:
    gpt, claude = built(FILE, {}, session).route_for("front-desk").choices
    likely = job(sampling=Sampling(logprobs=True))

    assert [choice.target.takes(job()) for choice in (gpt, claude)] == [True, True]
    assert [choice.target.takes(likely) for choice in (gpt, claude)] == [True, False]
    assert Echo("echo").takes(likely)


async def test_without_a_file_there_are_the_built_in_models(session: ClientSession) -> None:
    models = built(None, {}, session)
    for name in settings.BUILTIN_MODELS:
        [choice] = models.route_for(name).choices
        assert isinstance(choice.target, Echo)
        assert choice.target.name == name


async def test_a_models_targets_are_named_in_the_file(session: ClientSession) -> None:
    gpt, claude = built(FILE, {"GPT_KEY": "k"}, session).route_for("front-desk").choices

    assert isinstance(gpt.target, Upstream)
    assert (gpt.target.name, gpt.target.model) == ("gpt", "gpt-4.1-mini")
    assert (gpt.hedge_s, claude.hedge_s) == (0.5, None)
    assert gpt.prices is not None
    assert claude.prices is None
    assert claude.target.name == "claude"


def test_every_dialect_that_can_be_configured_is_there() -> None:
    assert set(DIALECTS) == set(settings.Target.__annotations__["dialect"].__args__)


async def test_models_share_what_is_known_of_a_target_and_not_what_they_may_spend(session: ClientSession) -> None:
    models = built(FILE + '[models.back-office]\ntargets = ["gpt", "gpt"]\n', {}, session)

    front, back = models.route_for("front-desk"), models.route_for("back-office")

    assert front.choices[0].breaker is back.choices[0].breaker is back.choices[1].breaker
    assert front.choices[0].latencies is back.choices[0].latencies
    assert front.retries is not back.retries
    assert front.hedges is not back.hedges


@pytest.mark.parametrize("name", ["gtp", "", "openai/", "openai/gpt", "echo "])
async def test_an_unknown_model_is_told_the_known_ones(session: ClientSession, name: str) -> None:
    with pytest.raises(
        ModelNotFound, match=r"known: echo, echo-json, echo-reasoning, echo-tools, front-desk"
    ) as raised:
        built(FILE, {}, session).route_for(name)
    assert raised.value.param == "model"


async def test_a_long_name_is_not_said_back_whole(session: ClientSession) -> None:
    with pytest.raises(ModelNotFound) as raised:
        built(None, {}, session).route_for("x" * 100_000)
    assert len(str(raised.value)) < 300


async def test_without_built_in_models_they_are_unknown(session: ClientSession) -> None:
    with pytest.raises(ModelNotFound, match="known: front-desk"):
        built(FILE + "[builtin]\nenabled = false\n", {}, session).route_for("echo")


async def test_openai_models_are_passed_through_with_the_key_of_the_environment(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(says("a"))
        await exchange.end()

    async with upstream(answer) as fake:
        models = built(None, {"OPENAI_API_KEY": " k-1\n", "OPENAI_BASE_URL": fake.url}, session)
        for model in ("openai/gpt-4.1", "openai/org/model"):
            [choice] = models.route_for(model).choices
            frames = [frame async for frame in choice.target.stream(job(), headers={}, patience=PATIENCE)]
            assert frames
    assert [exchange.json["model"] for exchange in fake.seen] == ["gpt-4.1", "org/model"]
    assert {exchange.headers["authorization"] for exchange in fake.seen} == {"Bearer k-1"}


async def test_models_that_are_passed_through_share_what_is_known(session: ClientSession) -> None:
    models = built(None, {"OPENAI_API_KEY": "k"}, session)

    one, two = models.route_for("openai/one"), models.route_for("openai/two")

    assert one.choices[0].breaker is two.choices[0].breaker
    assert one.retries is two.retries


async def test_a_target_without_a_key_sends_none(session: ClientSession) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.plain(503)

    async with upstream(answer) as fake:
        environ = {"TRUNKLINE_UPSTREAM__URL": fake.url, "TRUNKLINE_UPSTREAM__MODEL": "m"}
        [target] = build_upstreams(settings.parse(None, environ), environ, session).values()
        with pytest.raises(UpstreamError, match="503"):
            _ = [frame async for frame in target.stream(job(), headers={}, patience=PATIENCE)]
    assert "authorization" not in fake.seen[0].headers


# --- new settings ----------------------------------------------------------------------------------


async def test_open_targets_are_told_of(session: ClientSession) -> None:
    told = Told()
    models = built(FILE, {}, session, told)
    assert (models.open, told.open) == ((), {"gpt": False, "claude": False})

    open_breaker(models.route_for("front-desk").choices[0])

    assert models.open == ("gpt",)
    assert told.open == {"gpt": True, "claude": False}


async def test_what_is_known_of_a_target_outlives_settings_that_leave_it_as_it_is(session: ClientSession) -> None:
    models = built(FILE, {}, session)
    before = models.route_for("front-desk")
    open_breaker(before.choices[0])

    models.replace(settings.parse(FILE.replace('model = "claude"', 'model = "claude-2"'), {}))

    after = models.route_for("front-desk")
    assert models.open == ("gpt",)
    assert after.choices[0].latencies is before.choices[0].latencies
    assert after.choices[1].breaker is not before.choices[1].breaker
    assert after.choices[1].target is not before.choices[1].target
    assert after.retries is before.retries


@pytest.mark.parametrize(
    "change", [("gpt-4.1-mini", "gpt-4.1"), ("[models.front-desk]", "[breaker]\nrequests = 9\n[models.front-desk]")]
)
async def test_a_target_with_other_settings_begins_anew(session: ClientSession, change: tuple[str, str]) -> None:
    told = Told()
    models = built(FILE, {}, session, told)
    open_breaker(models.route_for("front-desk").choices[0])

    models.replace(settings.parse(FILE.replace(*change), {}))

    assert models.open == ()
    assert told.open["gpt"] is False


async def test_turns_that_outlive_their_settings_tell_nobody_of_a_target_that_was_replaced(
    session: ClientSession,
) -> None:
    told = Told()
    models = built(FILE, {}, session, told)
    before = models.route_for("front-desk").choices[0]
    models.replace(settings.parse(FILE.replace("gpt-4.1-mini", "gpt-4.1"), {}))

    open_breaker(before)

    assert before.breaker.is_open
    assert told.open["gpt"] is False


async def test_other_shares_begin_anew(session: ClientSession) -> None:
    models = built(FILE, {}, session)
    before = models.route_for("front-desk")

    models.replace(settings.parse(FILE.replace("[targets.gpt]", "hedge_share = 0.5\n[targets.gpt]"), {}))

    after = models.route_for("front-desk")
    assert (after.hedges.share, before.hedges.share) == (0.5, 0.1)


async def test_new_gates_hold_for_new_turns(session: ClientSession) -> None:
    models = built(FILE, {}, session)
    before = models.route_for("front-desk")

    models.replace(settings.parse(FILE + "[tools.end_call]\nnot_before_turn = 2\n", {}))

    assert dict(before.gates) == {}
    assert [models.route_for(name).gates["end_call"].not_before_turn for name in ("front-desk", "echo-tools")] == [2, 2]


async def test_a_turn_keeps_the_route_that_it_began_with(session: ClientSession) -> None:
    models = built(FILE, {}, session)
    route = models.route_for("front-desk")

    models.replace(settings.parse(None, {}))

    assert [choice.target.name for choice in route.choices] == ["gpt", "claude"]
    with pytest.raises(ModelNotFound):
        models.route_for("front-desk")
