"""A real model through the whole line: llama.cpp in its own process, asked by the official client."""

import asyncio

import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.broker.line_fixture import user
from tests.clients.local_line import ENDLESS, LocalLine, LocalTerminal
from trunkline.plain_chat import MAX_TOKENS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(shared_terminal: LocalTerminal) -> LocalLine:
    """One for all tests here."""
    return await shared_terminal.up("--local-model --ephemeral --upstream http://127.0.0.1:9/v1 --upstream-model other")


async def test_an_answer_comes_whole_with_what_it_cost(line: LocalLine) -> None:
    async with line.client as client:
        answer = await client.chat.completions.create(model="local", messages=[user("What is the capital of France?")])

    [choice] = answer.choices
    said = choice.message.content
    assert said
    assert "Paris" in said
    assert (answer.model, choice.finish_reason) == ("local", "stop")
    assert answer.usage
    assert answer.usage.prompt_tokens > 20
    assert 0 < answer.usage.completion_tokens <= MAX_TOKENS
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_an_answer_comes_as_a_stream_and_its_cost_in_the_last_chunk(line: LocalLine) -> None:
    async with line.client as client:
        stream = await client.chat.completions.create(
            model="local",
            messages=[user("What is the capital of France?")],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]

    *spoken, finish, usage = chunks
    texts = [chunk.choices[0].delta.content for chunk in spoken]
    assert len(texts) > 3
    assert "Paris" in "".join(text or "" for text in texts)
    assert finish.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage
    assert usage.usage.completion_tokens >= len(texts) - 1
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_three_turns_of_a_call_keep_their_history(line: LocalLine) -> None:
    history: list[ChatCompletionMessageParam] = [{"role": "system", "content": "You take bookings for a restaurant."}]
    prompt_tokens = []
    async with line.client as client:
        for text in ("My name is Anna.", "I would like a table for two tonight.", "At eight, please."):
            history.append(user(text))
            answer = await client.chat.completions.create(model="local", messages=history)
            said = answer.choices[0].message.content
            assert said
            assert said == said.strip()
            assert "###" not in said
            assert answer.choices[0].finish_reason == "stop"
            assert answer.usage
            prompt_tokens.append(answer.usage.prompt_tokens)
            history.append({"role": "assistant", "content": said})

    assert prompt_tokens == sorted(set(prompt_tokens))


async def test_a_client_that_hangs_up_stops_llama_cpp(line: LocalLine) -> None:
    """It would have gone on for thousands of tokens."""
    async with line.client as client:
        stream = await client.chat.completions.create(
            model="local", messages=[user("Tell me a story.")], stream=True, max_tokens=7500, logit_bias=ENDLESS
        )
        heard = 0
        async for _ in stream:
            heard += 1
            if heard == 5:
                break
        assert await line.at_work() == 1

        await stream.close()

        await line.idle()
        again = await client.chat.completions.create(model="local", messages=[user("Hello?")], max_tokens=3)
        assert again.usage


async def test_without_a_limit_of_the_callers_an_answer_is_bounded(line: LocalLine) -> None:
    async with line.client as client:
        answer = await client.chat.completions.create(
            model="local", messages=[user("Tell me a story.")], logit_bias=ENDLESS
        )

    assert answer.choices[0].finish_reason == "length"
    assert answer.usage
    assert answer.usage.completion_tokens == MAX_TOKENS


async def test_where_the_caller_wants_it_to_stop_does_not_undo_where_the_model_must(line: LocalLine) -> None:
    """It would go on with what the caller might say next."""
    async with line.client as client:
        answer = await client.chat.completions.create(model="local", messages=[user("Hello!")], stop=["zzz", "yyy"])

    said = answer.choices[0].message.content
    assert said
    assert "\n\n" not in said
    assert answer.choices[0].finish_reason == "stop"


async def test_it_stands_beside_the_other_models(line: LocalLine) -> None:
    async with line.client as client:
        models = {model.id async for model in client.models.list()}
        echoed = await client.chat.completions.create(model="echo", messages=[user("one two")])

    assert {"local", "upstream", "echo"} <= models
    assert echoed.choices[0].message.content == "one two"


async def test_more_callers_than_slots_are_all_answered(line: LocalLine) -> None:
    async def ask(client: AsyncOpenAI) -> str | None:
        answer = await client.chat.completions.create(model="local", messages=[user("Hello!")], max_tokens=4)
        return answer.choices[0].message.content

    async with line.client as client:
        answers = await asyncio.gather(*(ask(client) for _ in range(6)))

    assert all(answers)
    await line.idle()


async def test_what_callers_say_is_in_no_log(line: LocalLine) -> None:
    async with line.client as client:
        await client.chat.completions.create(
            model="local", messages=[user("my secret is Rumpelstilzchen")], max_tokens=2
        )

    logs = line.logs()
    assert {"model.log", "worker-0.log"} <= logs.keys()
    assert not [name for name, text in logs.items() if "Rumpelstilzchen" in text]
