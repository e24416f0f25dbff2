"""What a model leaks into its text, by tables that are read whole, in pieces and one character at a time."""

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ContentFiltered, EmptyAnswer, ServiceError
from protocol.lifecycle import Claim, advance
from protocol.messages import (
    Claimed,
    Finished,
    Format,
    Frame,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)
from tests.workers.target_jobs import job
from workers.targets.marks import ANYWHERE, BEGINNINGS, MARK, MAX_BLANK, MAX_HELD, OPENERS
from workers.targets.markup import Markup, needs_cleaning
from workers.targets.opened import MAX_CALL_CHARS

SCHEMA = b'{"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}'
TOOLS = (Tool("get_weather", parameters=SCHEMA), Tool("end_call"), Tool("brave_search"), Tool("play_keypad_touch_tone"))

WEATHER = ("get_weather", '{"city":"Paris"}')

# text -> what is said, the calls, how much was taken out
LEAKS: dict[str, tuple[str, list[tuple[str, str]], int]] = {
    # Qwen and Hermes: issues 47903 of vllm-project/vllm and 2731 of NVIDIA/NemoClaw
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>': ("", [WEATHER], 1),
    'One moment.\n<tool_call>{"name": "end_call", "arguments": {}}</tool_call>\nBye!': (
        "One moment.\n",
        [("end_call", "{}")],
        1,
    ),
    '<tool_call>{"name":"end_call"}</tool_call>\n'
    '<tool_call>{"name":"get_weather","arguments":{"city":"Rome"}}</tool_call>': (
        "",
        [("end_call", "{}"), ("get_weather", '{"city":"Rome"}')],
        2,
    ),
    '<tool_call>[{"name":"end_call"},{"name":"get_weather","arguments":{"city":"Paris"}}]</tool_call>': (
        "",
        [("end_call", "{}"), WEATHER],
        1,
    ),
    # Llama on Groq: pull request 31440 of langchain-ai/langchain
    '<function=brave_search>{"query": "Hello!"}</function>': ("", [("brave_search", '{"query":"Hello!"}')], 1),
    'Sure. <function=brave_search{"query": "a"}</function>': ("Sure. ", [("brave_search", '{"query":"a"}')], 1),
    # Qwen3-Coder, with its first tag and without: issue 475 of QwenLM/Qwen3-Coder
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
    "</function>\n</tool_call>": ("", [("get_weather", '{"city":"Paris","days":3}')], 1),
    "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>": ("", [WEATHER], 2),
    # Gemini: issue 5662 of livekit/agents
    "```tool_code\nprint(default_api.get_weather(city='Paris'))\n```": ("", [WEATHER], 1),
    'Let me see.\n```tool_code\nget_weather(city="Paris")\n```\n```tool_outputs\n{}\n```': (
        "Let me see.\n",
        [WEATHER],
        2,
    ),
    "print(default_api.get_weather(city='Paris'))": ("", [WEATHER], 1),
    "default_api.end_call()\nBye.": ("", [("end_call", "{}")], 1),
    # Mistral
    '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]': ("", [WEATHER], 1),
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}': ("", [WEATHER], 1),
    # Llama 3, GigaChat (issue 51701 of vllm-project/vllm), Granite, Kimi (pull request 28543), DeepSeek, GLM
    '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}<|eom_id|>': ("", [WEATHER], 1),
    'I\'ll check.<|function_call|>{"name": "get_weather", "arguments": {"city": "Paris"}}</s>': (
        "I'll check.",
        [WEATHER],
        1,
    ),
    '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Paris"}}]': ("", [WEATHER], 1),
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
    '{"city": "Paris"}<|tool_call_end|><|tool_calls_section_end|>': ("", [WEATHER], 3),
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>': ("", [WEATHER], 3),
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>": ("", [WEATHER], 1),
    # GLM, without arguments
    "Bye!\n<tool_call>end_call</tool_call>": ("Bye!\n", [("end_call", "{}")], 1),
    "<tool_call>\nend_call\n</tool_call>\nBye.": ("", [("end_call", "{}")], 1),
    "<tool_call>play_keypad_touch_tone</tool_call>": ("", [("play_keypad_touch_tone", "{}")], 1),
    "<tool_call>functions.end_call</tool_call>": ("", [("end_call", "{}")], 1),
    "<tool_call>end_call<|im_end|>": ("", [("end_call", "{}")], 1),
    "<tool_call>end_call": ("", [("end_call", "{}")], 1),
    "Hm. <|tool_call|>end_call</s>": ("Hm. ", [("end_call", "{}")], 1),
    "Well, <tool_call>what</tool_call> yes.": ("Well, what yes.", [], 2),
    "Well, <tool_call>end_call?</tool_call> yes.": ("Well, end_call? yes.", [], 2),
    "Well, <tool_call>end_calls": ("Well, end_calls", [], 1),
    "<function=end_call></function>": ("", [("end_call", "{}")], 1),
    # in a block of code, behind much white space, or in a form of its own
    'Hm. <tool_call>\n```json\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n```\n</tool_call>': (
        "Hm. ",
        [WEATHER],
        1,
    ),
    '<|tool_call|>```json\n[{"name": "get_weather", "arguments": {"city": "Paris"}}]\n```<|im_end|>': (
        "",
        [WEATHER],
        1,
    ),
    '[TOOL_CALLS] ```\n[{"name": "get_weather", "arguments": {"city": "Paris"}}]```': ("", [WEATHER], 1),
    '<tool_call>```xml\n<invoke name="end_call"></invoke>\n```</tool_call>': ("", [("end_call", "{}")], 1),
    "<tool_call>" + "\n" * 200 + '{"name": "end_call"}</tool_call>': ("", [("end_call", "{}")], 1),
    'Hm. <tool_call>\n"name": "get_weather", "arguments": {"city": "Paris"}\n</tool_call>': ("Hm. ", [WEATHER], 1),
    "Hm. <tool_call><name>get_weather</name><arguments>{}</arguments></tool_call>": ("Hm. ", [], 1),
    "Hm. <tool_call>```json\nwhat?\n```</tool_call>": ("Hm. ", [], 1),
    "Hm. <tool_call>```python is a fence, and": ("Hm. ```python is a fence, and", [], 1),
    'Hm. <tool_call>"name" it, please': ('Hm. "name" it, please', [], 1),
    # arguments under a key that nobody knows
    'Hm. <tool_call>{"name": "get_weather", "city": "Paris"}</tool_call>': ("Hm. ", [], 1),
    # Llama 4, LFM2, Command R; whatever else has a control token for them
    'Hm. <|python_start|>[get_weather(city="Paris")]<|python_end|> Well.': ("Hm. ", [WEATHER], 1),
    '<|python_start|>{"name": "x"}<|python_end|>Well.': ("Well.", [], 1),
    '<|tool_call_start|>[get_weather(city="Paris")]<|tool_call_end|>': ("", [WEATHER], 1),
    '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", "input": {"city": "Paris"}}]<|END_ACTION|>': (
        "",
        [WEATHER],
        1,
    ),
    '<|tool_calls|>\n[{"name": "get_weather", "arguments": {"city": "Paris"}}]<|tool_calls_end|>': ("", [WEATHER], 1),
    '<|function_calls|>{"name": "end_call"}': ("", [("end_call", "{}")], 1),
    "<|tool_calls|> are next.": ("are next.", [], 1),
    "<|tool_call_end|>[1] and <|python_end|>{2}": ("[1] and {2}", [], 2),
    '<|python_tag|>get_weather(city="Paris")<|eom_id|>': ("", [WEATHER], 1),
    '<|python_tag|>get_weather(city="Paris") <|eot_id|>\n</s>': ("", [WEATHER], 1),
    # DeepSeek 3.2
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
    '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>": ("", [WEATHER], 1),
    'Hm. <｜DSML｜tool_calls><｜DSML｜invoke name="end_call"></｜DSML｜invoke><｜DSML｜invoke name="get_weather">'
    '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter></｜DSML｜invoke></｜DSML｜tool_calls>': (
        "Hm. ",
        [("end_call", "{}"), ("get_weather", '{"days":3}')],
        1,
    ),
    'Hm. <｜DSML｜function_calls>\n<｜DSML｜invoke name="end_call"><': ("Hm. ", [], 1),
    "The <｜DSML｜function_calls> come next.": ("The come next.", [], 1),
    # gpt-oss, where a server has eaten the mark of the channel
    'commentary to=functions.get_weather json<|message|>{"city": "Paris"}<|call|>': ("", [WEATHER], 1),
    'assistantcommentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}': ("", [WEATHER], 1),
    'commentary to=functions.get_weather json{"city": "Paris"}': ("", [], 1),
    # gpt-oss: issue 32587 of vllm-project/vllm
    "<|channel|>analysis<|message|>They greet.<|end|><|start|>assistant<|channel|>final<|message|>Hello.<|return|>": (
        "Hello.",
        [],
        5,
    ),
    '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>': (
        "",
        [WEATHER],
        1,
    ),
    "<|channel|>commentary<|message|>One moment.<|end|>": ("One moment.", [], 2),
    # calls that nobody can make
    'Well, <tool_call>{"name": "unknown", "arguments": {}}</tool_call> yes.': ("Well, yes.", [], 1),
    "Well, <tool_call>{what?}</tool_call> yes.": ("Well, yes.", [], 1),
    "Well,<tool_call>{what?}</tool_call> yes.": ("Well, yes.", [], 1),
    "Well, <tool_call>what?</tool_call> yes.": ("Well, what? yes.", [], 2),
    'Well, <tool_call>{"name": "end_call", "arguments": [1]}</tool_call>yes.': ("Well, yes.", [], 1),
    "One.\n\n```tool_code\nimport os\n```\n\nTwo.": ("One.\n\nTwo.", [], 1),
    "```tool_code\nprint(end_call(reason=input()))\n```ok": ("ok", [], 1),
    "Hm <tool_response>\n14 degrees\n</tool_response> yes": ("Hm yes", [], 1),
    # cut off
    '<tool_call>{"name": "end_call", "arguments": {}}': ("", [("end_call", "{}")], 1),
    'Hm. <tool_call>{"name": "end_call", "argum': ("Hm. ", [], 1),
    "Hm. <function=get_weather>\n<parameter=city>\nParis\n</parameter>\n": ("Hm. ", [], 1),
    "Hm. <tool_call>": ("Hm. ", [], 1),
    "```tool_code\nend_call()": ("", [("end_call", "{}")], 1),
    'Hm. <tool_call>{"name": "unknown"} I do not know.<|im_end|>': ("Hm. I do not know.", [], 2),
    'Hm. <tool_call>{"name": "end_call"} I do not know.': ("Hm. ", [("end_call", "{}")], 1),
    "Hm. <tool_call>\n<func": ("Hm. ", [], 1),
    # a mark that begins no call
    "You start with <tool_call> and then JSON. Got it?": ("You start with and then JSON. Got it?", [], 1),
    "No <function=foo> is not valid, you know.": ("No is not valid, you know.", [], 1),
    "Hello ```tool_code and so on": ("Hello and so on", [], 1),
    "Hello\n```tool_code\nOkay, and so on": ("Hello\nOkay, and so on", [], 1),
    "The <tool_response> comes next.": ("The comes next.", [], 1),
    "First <|channel|> comes, you see.": ("First comes, you see.", [], 1),
    "[TOOL_CALLS] lists are nice": ("lists are nice", [], 1),
    'Oh <tool_call>\n<tool_call>{"name": "end_call"}</tool_call>': ("Oh ", [("end_call", "{}")], 2),
    'Oh\n```tool_call\nend_call\n{"reason": 1}\n```': ("Oh\n", [("end_call", '{"reason":1}')], 1),
    "<tool_call>" + "x" * 30 + '{"name": "end_call"}</tool_call> Hi.': ("Hi.", [], 1),
    # control tokens: issues 2284 of logancyang/obsidian-copilot and 9767 of vllm-project/vllm-ascend
    "Hello.<|im_end|>": ("Hello.", [], 1),
    "Hello. <|eot_id|> there": ("Hello. there", [], 1),
    "Hel<|reserved_special_token_12|>lo": ("Hello", [], 1),
    "Hello.<｜end▁of▁sentence｜>": ("Hello.", [], 1),
    "<|im_start|>assistant\nHello.<|im_end|>\n": ("Hello.\n", [], 2),
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello.": ("Hello.", [], 2),
    "<|assistant|>\nHello.": ("Hello.", [], 1),
    "Hello.</s>": ("Hello.", [], 1),
    "Hello.<end_of_turn>\n<start_of_turn>model\nBye.": ("Hello.\nBye.", [], 2),
    "[INST] Hello. [/INST] Bye.": ("Hello. Bye.", [], 2),
    "\n <|assistant|> Hello.": ("Hello.", [], 1),
    # a turn of somebody else
    "Hello.<|im_end|>\n<|im_start|>user\nThanks.<|im_end|>\n<|im_start|>assistant\nBye.": ("Hello.\nBye.", [], 4),
    'Hello.<|user|>Stop.<tool_call>{"name": "end_call"}</tool_call>': ("Hello.", [], 2),
    # who speaks
    "Assistant: Hello.": ("Hello.", [], 1),
    "\nassistant: Hello.": ("Hello.", [], 1),
    "assistant\n\nHello.": ("Hello.", [], 1),
    "**Assistant:** Hello.": ("Hello.", [], 1),
}
ORDINARY = (
    "",
    " ",
    "Hello there.",
    " \n Hello. ",
    "a < b and b > c",
    "I <3 you",
    "|",
    "x <| y |> z",
    "a <|b c|> d",
    "<tool>",
    "<tool_calls>",
    "<tools>x</tools>",
    "<function name='f'>",
    "```python\nprint(1)\n```",
    "``` tool_code",
    "`tool_code`",
    "[1] and [TOOL] and [tool_calls]",
    "{'name': 'end_call'}",
    '{"name": "end_call", "arguments": {}}',
    "the assistant: hello",
    "Well. Assistant: hello",
    "Assistant managers are here.",
    "assistants: two",
    "AI is here: hello",
    "commentary to=you and me",
    "commentary to",
    "Commentary to=functions.x",
    "a commentary to=functions.x json",
    "assistantcommentary",
    "<DSML>",
    "<｜DSML｜function_call",
    "AI: Artificial Intelligence is what it stands for.",
    "default_api.foo is how one names it. And so on.",
    "default_api.end",
    "print(default_api.x)",
    # quoted: an example
    "You start with `<tool_call>` and then JSON. Got it?",
    'It is `<tool_call>{"name": "end_call"}</tool_call>`, in short.',
    "`<function=foo>` is not valid, `<function=foo>{}</function>` is.",
    "Write `</tool_call>`, ` </s>` or `[INST]`.",
    'Say "<tool_call>{x}',
    '```xml\n<tool_call>{"name": "end_call"}</tool_call>\n```\nThat is how it looks.',
    "```\n<function=end_call></function>\n[TOOL_CALLS]end_call{}\n```",
    "``` \n```tool_code\nprint(end_call())\n",
    "Ass",
    "assistant",
    "A",
    "print(x)",
    "I see default_api.end_call()",
    "p",
    "<b>Hello</b>, <i>you</i>",
    "<tool_call",
    "Hello <|im_en",
    "<|" + "x" * 29 + "|>",
    " " * 40 + "Hello.",
    "<<<<<<",
    "``````",
)


def cleaned(pieces: Iterable[str], **fields: Any) -> tuple[str, list[tuple[str, str]], int]:
    """What is said, the calls, how much was taken out."""
    markup = Markup(job(tools=TOOLS, **fields))
    parts = [*(markup.push(piece) for piece in pieces), markup.flush()]
    calls = [call for _, made in parts for call in made]
    assert [call.index for call in calls] == list(range(len(calls)))
    assert len({call.id for call in calls}) == len(calls)
    return "".join(said for said, _ in parts), [(call.name, call.arguments) for call in calls], markup.leaked


def in_pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize(("text", "expected"), LEAKS.items(), ids=range(len(LEAKS)))
def test_what_leaks_becomes_a_call_or_vanishes_at_any_split(
    text: str, expected: tuple[str, list[tuple[str, str]], int]
) -> None:
    for size in (len(text), 1, 2, 3, 5, 7, 11):
        assert cleaned(in_pieces(text, size)) == expected


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_that_looks_similar_is_said_as_it_is(text: str) -> None:
    for size in (len(text) or 1, 1, 2, 3, 7):
        assert cleaned(in_pieces(text, size)) == (text, [], 0)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_of_which_some_need_not_come_by_is_said_as_it_is(text: str) -> None:
    markup = Markup(job(tools=TOOLS))
    said = "".join(one if markup.plain(one) else markup.push(one)[0] for one in text)

    assert said + markup.flush()[0] == text


@pytest.mark.parametrize("quote", ['"', "`", "“", "```xml\n", "```\n"])
@pytest.mark.parametrize("mark", OPENERS)
def test_a_call_that_is_quoted_was_made(quote: str, mark: str) -> None:
    """An example is none, whatever its mark."""
    body = "end_call" + {"</function>": ">{}", "\n": "()", "```": "()"}.get(OPENERS[mark][0], "{}")
    for text in (f"So: {quote}{mark}{body}{OPENERS[mark][0]}", f"So: {quote}{mark}{body}"):
        for size in (len(text), 1, 3):
            said, calls, _ = cleaned(in_pieces(text, size))
            assert calls == []
            assert said.startswith(f"So: {quote}")
            assert "end_call" in said


def test_an_answer_that_goes_on_in_code_is_in_code() -> None:
    text = '<tool_call>{"name": "end_call"}</tool_call>\n```'
    assert cleaned([text], said="As XML:\n```xml\n") == (text, [], 0)


def test_a_call_behind_a_quotation_mark_that_closes_is_made() -> None:
    text = 'They said "yes."<tool_call>{"name": "end_call"}</tool_call>'
    assert cleaned([text]) == cleaned(text) == ('They said "yes."', [("end_call", "{}")], 1)


def test_a_quoted_control_token_vanishes_and_begins_nothing() -> None:
    """Nobody can speak it, and nobody else speaks after it."""
    assert cleaned("The token `<|user|>` is for you.") == ("The token `` is for you.", [], 1)
    assert cleaned('They said "bye."<|im_end|>') == ('They said "bye."', [], 1)


def test_only_tools_that_are_offered_are_called() -> None:
    call = '<tool_call>{"name": "end_call", "arguments": {}}</tool_call>'

    assert cleaned([call], tool_choice=ToolChoice("allowed", ("get_weather",)))[1] == []
    assert cleaned([call], tool_choice=ToolChoice("none"))[1] == []
    assert cleaned([call, call.replace("end_call", "brave_search")], parallel_tool_calls=False)[1] == [
        ("end_call", "{}")
    ]


def test_an_answer_that_goes_on_begins_with_no_name() -> None:
    assert cleaned(["assistant: is what I am."], said="A medical ") == ("assistant: is what I am.", [], 0)


def test_a_call_without_end_is_not_kept() -> None:
    markup = Markup(job(tools=TOOLS))
    markup.push("<tool_call>")
    for _ in range(100):
        assert markup.push("x" * 2048) == ("", [])

    assert markup.push("</tool_call>Hello.") == ("Hello.", [])
    assert MAX_CALL_CHARS < 100 * 2048


def test_text_after_the_first_word_need_not_come_by_until_a_mark_may_begin() -> None:
    markup = Markup(job())
    assert not markup.plain("Hello")  # the name of who speaks may be leaked
    markup.push("Hello")
    assert [markup.plain(text) for text in (" there", " |", " <", " [1]", " `x`")] == [True, True, False, False, False]
    markup.push(" <|")
    assert not markup.plain("im_end|>")


def test_white_space_before_a_mark_is_known_where_it_did_not_come_by() -> None:
    markup = Markup(job())
    markup.push("Hello")
    assert markup.plain(". ")
    assert markup.push("<|eot_id|> there") == ("there", [])


# --- frames ------------------------------------------------------------------------------------------

DONE = Finished("stop", Usage(1, 2))
LEAKED = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'


def passed(frames: Sequence[Frame], **fields: Any) -> list[Frame]:
    """Frames that come out, checked against what may follow what."""
    passed = list(Markup(job(tools=TOOLS, **fields), target="gpt").frames(frames))
    state = advance(Claim.NEW, Claimed("ack"))
    for frame in passed:
        state = advance(state, frame)
    return passed


def test_an_answer_that_holds_a_call_ends_as_one() -> None:
    said, call, last = passed([Text("One moment. " + LEAKED), Text("Anything else?"), Reasoning("hm"), DONE])

    assert said == Text("One moment. ")
    assert isinstance(call, ToolCall)
    assert (call.index, call.name) == (0, "get_weather")
    assert last == Finished("tool_calls", Usage(1, 2), leaked=1)


def test_leaked_calls_and_proper_ones_are_counted_together() -> None:
    first, second, last = passed([Text(LEAKED), ToolCall(0, "c", "end_call", "{}"), Finished("tool_calls")])

    assert isinstance(first, ToolCall)
    assert first.name == "get_weather"
    assert second == ToolCall(1, "c", "end_call", "{}")
    assert last == Finished("tool_calls", leaked=1)


NONE = ToolChoice("none")
OWN = ToolCall(0, "c", "get_weather", '{"city": "Paris"}')


def test_where_no_call_may_be_made_one_of_the_upstreams_own_is_for_whoever_checks_it() -> None:
    """It was lost here: nobody objected to it, and the turn was empty."""
    frames: list[Frame] = [Text("Hm. "), OWN, Finished("tool_calls")]

    assert passed(frames, tool_choice=NONE, check_tools=True) == frames
    assert passed([Text(LEAKED + " Well."), DONE], tool_choice=NONE, check_tools=True)[0] == Text("Well.")


def test_where_no_call_may_be_made_and_nobody_checks_none_goes_out() -> None:
    frames = passed([Text("Hm. "), OWN, Text("Well."), Finished("tool_calls")], tool_choice=NONE)

    assert frames == [Text("Hm. "), Text("Well."), Finished("stop")]
    with pytest.raises(EmptyAnswer, match="'gpt'"):
        passed([OWN, Finished("tool_calls")], tool_choice=NONE)


@pytest.mark.parametrize(
    "text", ["<tool_call>end_call</tool_call>", "<tool_call>end_call", "<|tool_call|>end_call</s>"]
)
def test_the_name_of_a_tool_that_may_not_be_called_is_not_said(text: str) -> None:
    for size in (len(text), 1):
        assert cleaned(in_pieces(text, size), tool_choice=NONE)[:2] == ("", [])


def test_a_page_of_white_space_behind_a_mark_is_no_call() -> None:
    """However it comes: what is kept of it has a bound."""
    text = "Hm <tool_call>" + " " * 2 * MAX_BLANK + "Well."
    assert cleaned([text]) == cleaned(text) == ("Hm Well.", [], 1)


def test_a_call_that_the_upstream_tells_once_more_is_one_call() -> None:
    frames = passed([Text(LEAKED), ToolCall(0, "c", "get_weather", '{ "city": "Paris" }'), Finished("tool_calls")])

    assert [type(frame) for frame in frames] == [ToolCall, Finished]


@pytest.mark.parametrize("arguments", ['{"city":', "17", "[1]"])
def test_a_call_that_nobody_can_make_is_not_the_one_that_has_leaked(arguments: str) -> None:
    broken = ToolCall(0, "c", "get_weather", arguments)

    first, second, last = passed([Text(LEAKED), broken, Finished("tool_calls")])

    assert isinstance(first, ToolCall)
    assert second == ToolCall(1, "c", "get_weather", arguments)
    assert last == Finished("tool_calls", leaked=1)


def test_half_a_tag_before_a_proper_call_vanishes_with_it() -> None:
    """Issue 448 of raullenchai/Rapid-MLX: the parser leaves the tag in the text and makes the call."""
    call = ToolCall(0, "c", "end_call", "{}")

    assert passed([Text("<tool_call>"), call, Finished("tool_calls")]) == [call, Finished("tool_calls", leaked=1)]


def test_what_is_held_back_comes_before_whatever_ends_the_text() -> None:
    """A thought is no text and ends none."""
    thought, refusal = Reasoning("hm"), Refusal("No.")

    assert passed([Text("a <"), thought, refusal, DONE]) == [Text("a "), thought, Text("<"), refusal, DONE]


def test_a_frame_that_is_not_touched_passes_as_it_is() -> None:
    whole = Text("quite", (TokenLogprob("quite", -1.0),))
    marked = Text("so<|im_end|>", (TokenLogprob("so", -1.0), TokenLogprob("<|im_end|>", -1.0)))

    assert passed([whole, marked, DONE]) == [whole, Text("so"), Finished("stop", Usage(1, 2), leaked=1)]


@pytest.mark.parametrize("text", ["<|im_end|>", "\n<tool_call>{what?}</tool_call>\n", "Assistant:", "<|user|>Hello."])
def test_an_answer_of_which_nothing_is_left_is_an_empty_one(text: str) -> None:
    with pytest.raises(EmptyAnswer, match="'gpt'"):
        passed([Text(text), DONE])


@pytest.mark.parametrize(("reason", "kind"), [("content_filter", ContentFiltered), ("length", ServiceError)])
def test_why_nothing_is_left_is_told(reason: str, kind: type[ServiceError]) -> None:
    with pytest.raises(kind):
        passed([Text("<tool_call>{"), Finished(reason)])  # type: ignore[arg-type]


def test_a_continuation_may_bring_nothing() -> None:
    assert passed([Text("<|im_end|>"), DONE], said="Hello. ") == [Finished("stop", Usage(1, 2), leaked=1)]


def test_an_answer_without_marks_ends_as_it_came() -> None:
    assert passed([Text("Hello."), DONE])[-1] is DONE


def test_json_is_never_touched() -> None:
    assert needs_cleaning(job(clean_markup=True))
    assert needs_cleaning(job(clean_markup=True, response_format=Format("text")))
    assert not needs_cleaning(job(clean_markup=True, response_format=Format("json_object")))
    assert not needs_cleaning(job())


# --- whatever comes ----------------------------------------------------------------------------------

PARTS = st.sampled_from(
    (
        *ANYWHERE,
        *BEGINNINGS,
        *OPENERS,
        *("<|message|>", "<|call|>", "analysis", "final", "commentary to=functions.end_call", "<|start|>"),
        *(
            "<|tool_calls|>",
            '<｜DSML｜invoke name="end_call">',
            "</｜DSML｜invoke>",
            "[end_call()]",
            "end_call",
            "</tool",
        ),
        *(" " * 33, "```json\n", "functions.", '"name": "end_call"', '<invoke name="end_call">', "</invoke>"),
        *("<|im_start|>", "<|im_end|>", "<|python_tag|>", "<|user|>", "<|assistant|>", "<|tool_call|>"),
        *('{"name": "end_call"}', '{"name": "x", "arguments": {}}', "end_call()", "get_weather>", "</parameter>"),
        *(
            "<parameter=city>",
            "[{",
            "}]",
            "<",
            "<|",
            "|>",
            "|",
            "`",
            "```",
            "```xml\n",
            '"',
            "[",
            "]",
            ">",
            " ",
            "\n",
            "a",
            "user",
            ":",
        ),
    )
)
TEXTS = st.lists(PARTS | st.text(max_size=3), max_size=10).map("".join)


def split(text: str, data: st.DataObject) -> list[str]:
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in itertools.pairwise([0, *at, len(text)])]


@given(TEXTS, st.data())
def test_where_a_text_is_split_changes_nothing(text: str, data: st.DataObject) -> None:
    whole = cleaned([text])

    assert cleaned(split(text, data)) == whole
    assert cleaned(text) == whole


@given(TEXTS, st.data())
def test_a_text_without_marks_is_said_whole(text: str, data: st.DataObject) -> None:
    if not (MARK.search(text) or text.lstrip().startswith(BEGINNINGS)):
        assert cleaned(split(text, data)) == (text, [], 0)


@given(TEXTS, st.data())
def test_only_what_may_become_a_mark_is_held_back_and_no_more_than_32_characters(
    text: str, data: st.DataObject
) -> None:
    """What is held back either begins a mark, or stands where the answer begins."""
    if MARK.search(text):
        return
    markup, came, said = Markup(job(tools=TOOLS)), "", ""
    for piece in split(text, data):
        came += piece
        said += markup.push(piece)[0]
        if markup.leaked:
            return
        held = came[len(said) :]
        assert came == said + held
        assert len(held) < MAX_HELD
        begun = held if said else held.lstrip()
        assert begun.startswith(("<", "`", "[") if said else ("<", "`", "[", "a", "A", "*", "p", "d", "c")) or not begun


WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=2, max_size=9).map(" ".join)
OPENER = st.sampled_from([mark for mark in OPENERS if mark not in BEGINNINGS])


@given(OPENER, WORDS, st.data())
def test_words_behind_a_mark_that_begins_no_call_were_lost(mark: str, words: str, data: st.DataObject) -> None:
    """And they waited for the end of the answer."""
    text = f"So {mark} {words}."
    markup, came, said = Markup(job(tools=TOOLS)), "", ""
    expected = words.partition(" ")[2] if mark == "<function=" else words  # its first word is its name
    for piece in split(text, data):
        came += piece
        said += markup.push(piece)[0]
        if len(came) > len("So ") + len(mark):
            assert len(came) - len("So ") - len(mark) - len(said.removeprefix("So ")) < MAX_HELD
    said += markup.flush()[0]

    assert said.split() == f"So {expected}.".split()


@given(TEXTS)
def test_no_control_token_is_ever_said(text: str) -> None:
    token = re.compile(r"<[|｜][\w▁.:/-]{1,28}[|｜]>")
    if not token.search(token.sub("", text)):
        assert not token.search(cleaned([text])[0])


@given(TEXTS, st.data())
def test_frames_come_in_an_order_that_is_allowed(text: str, data: st.DataObject) -> None:
    texts: list[Frame] = [Text(piece) for piece in split(text, data) if piece]
    call = data.draw(st.sampled_from([None, ToolCall(0, "c", "end_call", "{}")]))
    frames = [*texts, *([call] if call else []), Finished("tool_calls" if call else "stop")]
    try:
        out = passed(frames)
    except ServiceError:
        return
    calls = [frame for frame in out if isinstance(frame, ToolCall)]
    assert [one.index for one in calls] == list(range(len(calls)))
    last = out[-1]
    assert isinstance(last, Finished)
    assert (last.reason == "tool_calls") == bool(calls)
