"""A model's prompt, from the settings to what its upstreams are sent."""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession

from protocol import settings
from protocol.messages import Job, Message
from protocol.settings import SettingsError
from protocol.spans import Spans
from tests.workers.fake_upstream import Exchange, FakeUpstream, upstream
from tests.workers.target_jobs import job, user
from workers.claims import Delivery
from workers.metrics import Metrics
from workers.prompts import BLOCKS, Prompt, known, wrong
from workers.run import Runner
from workers.targets.build import Models
from workers.targets.connections import open_session
from workers.templates import GIVEN

NAME = "You speak with {{ extra.customer_name }}."
EXTRAS = {"elevenlabs_extra_body": b'{"customer_name": "Ann", "tenant": "t1"}', "call": b'{"id": "c-1", "to": "5"}'}


def told(source: str, **fields: Any) -> str:
    """The prompt that goes before the messages; "" for none."""
    before = Prompt("m", source).before(job(**fields)).messages
    assert before[-1] == user("hello there")
    if len(before) == 1:
        return ""
    (prompt, _) = before
    assert prompt.role == "system"
    assert isinstance(prompt.content, str)
    return prompt.content


def test_the_prompt_says_what_a_block_is_and_goes_before_the_callers_messages() -> None:
    assert told(NAME, extras=EXTRAS) == f'{BLOCKS}\n\nYou speak with <data name="customer_name">Ann</data>.'


def test_a_prompt_of_its_own_words_alone_is_said_as_it_is() -> None:
    assert told("Be brief.") == "Be brief."
    assert told("{% if extra.vip %}Be kind.{% endif %}") == ""


@pytest.mark.parametrize(
    ("source", "fields", "expected"),
    [
        ("{{ call.id }}", {"extras": EXTRAS}, '<data name="id">c-1</data>'),
        ("{{ metadata.plan }}", {"metadata": {"plan": "gold"}}, '<data name="plan">gold</data>'),
        ("{{ language }}", {"language": "de"}, '<data name="language">de</data>'),
        ("{{ call_id }}", {"call_id": "c"}, '<data name="call_id">c</data>'),
        ("{{ model }}", {}, '<data name="model">m</data>'),
        (
            "{{ extra.plan }}{{ extra.dynamic_variables.plan }}",
            {"extras": {"extra_metadata": b'{"dynamic_variables": {"plan": "gold"}}'}},
            '<data name="plan">gold</data><data name="plan">gold</data>',
        ),
    ],
)
def test_what_a_prompt_may_name(source: str, fields: dict[str, Any], expected: str) -> None:
    assert told(source, **fields).removeprefix(BLOCKS).strip() == expected


def test_a_template_is_given_every_name_that_it_may_use() -> None:
    assert known(job()).keys() == set(GIVEN)


def test_a_turn_of_which_nothing_is_known_has_its_prompt_all_the_same() -> None:
    assert told(NAME) == "You speak with ."
    assert told(NAME, extras={"context": b"[", "call": b"{"}) == "You speak with ."


def test_a_prompt_that_fails_on_what_it_was_given_is_told_without_it(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing of it is in the log."""
    source = "Hi {{ extra.name }}.{% if extra.age %}{{ 1 / (extra.age - 5) }}{% endif %}"
    extras = {"context": b'{"name": "Ann", "age": 5}'}
    with caplog.at_level(logging.WARNING):
        assert told(source, extras=extras) == "Hi ."

    assert "models.m.prompt" in caplog.text
    assert "Ann" not in caplog.text


def test_a_value_of_any_size_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    large = {"context": json.dumps({"customer_name": "x" * 100_000}).encode()}

    assert 3000 < len(told(NAME, extras=large)) < 5000


# --- where it is checked -----------------------------------------------------------------------------

FILE = """
[models.front-desk]
targets = ["up"]
prompt = '''
Be brief.
{}
'''
[targets.up]
base_url = "http://127.0.0.1:9/v1"
model = "m"
"""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{{ extra.", "expected name or number"),
        ("{{ extra.name | shout }}", "No filter named 'shout'"),
        ("{{ customer_name }}", "there is no 'customer_name'; write extra.customer_name"),
        ("{{ extra.age + 1 }}", "it fails where nothing is known of a call"),
    ],
)
def test_a_template_that_is_none_is_named_with_its_line_and_its_cure(line: str, why: str) -> None:
    (error,) = wrong(settings.parse(FILE.replace("{}", line), {}))

    assert str(error).startswith(f"models.front-desk.prompt, line 2: {why}")
    assert str(error).endswith("; correct the template, or leave it out")


def test_a_good_one_is_not() -> None:
    assert list(wrong(settings.parse(FILE.replace("{}", NAME), {}))) == []


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


async def test_a_reload_with_a_bad_prompt_changes_nothing(session: ClientSession) -> None:
    models = Models(settings.parse(FILE.replace("{}", NAME), {}), {}, session)
    before = models.route_for("front-desk")
    with pytest.raises(SettingsError, match=r"models\.front-desk\.prompt"):
        models.replace(settings.parse(FILE.replace("{}", "{{"), {}))

    assert models.route_for("front-desk") is before

    models.replace(settings.parse(FILE.replace("{}", "Be kind."), {}))
    after = models.route_for("front-desk").prompt
    assert after is not None
    assert after.before(job()).messages[0].content == "Be brief.\nBe kind."


# --- at the socket -----------------------------------------------------------------------------------

ANSWERS = {
    "chat-completions": 'data: {"choices": [{"delta": {"content": "Hi."}, "finish_reason": "stop"}]}\n\n',
    "messages": (
        'data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi."}}\n\n'
        'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}\n\n'
        'data: {"type": "message_stop"}\n\n'
    ),
    "responses": (
        'data: {"type": "response.output_text.delta", "delta": "Hi.", "output_index": 0, "content_index": 0}\n\n'
        'data: {"type": "response.completed", "response": {"status": "completed"}}\n\n'
    ),
}


async def asked(dialect: str, prompt: str | None, one: Job) -> tuple[bytes, Mapping[str, Any]]:
    """What an upstream of that dialect receives, as it came and read."""

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(ANSWERS[dialect])
        await exchange.end()

    async with AsyncExitStack() as stack:
        fake: FakeUpstream = await stack.enter_async_context(upstream(answer))
        session = await stack.enter_async_context(open_session())
        target = settings.Target(base_url=fake.url, model="up", dialect=dialect)  # type: ignore[arg-type]
        model = settings.Model(targets=("up",), prompt=prompt)
        models = Models(settings.Settings(models={"m": model}, targets={"up": target}), {}, session)
        runner = Runner(models.route_for, spans=Spans(), metrics=Metrics(), worker_id="w")
        delivery = Delivery(
            one, pool="p", edge_id="e", line=1, claim=1, ack="a", trace={}, now=0.0, send=lambda _, frame: None
        )
        delivery.start()
        await runner.run(delivery)
        assert delivery.closed
        (exchange,) = fake.seen
        return exchange.body, exchange.json


def system_of(dialect: str, body: Mapping[str, Any]) -> Any:
    """The first thing that a model of this dialect reads."""
    match dialect:
        case "messages":
            return body["system"]
        case "responses":
            return body["input"][0]["content"]
    return body["messages"][0]["content"]


@pytest.mark.parametrize("dialect", ANSWERS)
async def test_every_dialect_is_sent_the_prompt_and_nothing_else_of_what_was_said_of_the_call(dialect: str) -> None:
    extras = {**EXTRAS, "context": b'{"secret": "s-4711"}'}
    raw, body = await asked(dialect, NAME, job(extras=extras, metadata={"a": "m-4711"}))

    assert system_of(dialect, body) == f'{BLOCKS}\n\nYou speak with <data name="customer_name">Ann</data>.'
    for private in (b"4711", b"t1", b"c-1", b"extra", b"metadata", b"call_id"):
        assert private not in raw


@pytest.mark.parametrize("dialect", ANSWERS)
async def test_a_model_without_a_prompt_is_sent_nothing_of_it(dialect: str) -> None:
    messages = (Message(role="system", content="Be brief."), user("hello"))
    raw, body = await asked(dialect, None, job(extras=EXTRAS, messages=messages))

    assert system_of(dialect, body) == "Be brief."
    assert b"Ann" not in raw


@pytest.mark.parametrize("dialect", ANSWERS)
async def test_the_callers_own_system_message_stands_behind_the_prompt(dialect: str) -> None:
    messages = (Message(role="system", content="Be brief."), user("hello"))
    raw, _ = await asked(dialect, "Be kind.", job(messages=messages))

    assert raw.index(b"Be kind.") < raw.index(b"Be brief.")
