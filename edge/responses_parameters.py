"""Every parameter of POST /v1/responses, and what becomes of it; every value that is refused.

One table, as `edge.parameters` has it for chat completions: bodies are refused by it, docs/responses.md shows it, and
tests hold both against the form of a body and against the parameters that OpenAI's own client knows. What platforms add
is `edge.parameters.PLATFORMS`: it is the same in both.

Source: the API contract, sections 1.10 and 1.14; the parameters of openai-python 3.52; the Open Responses
specification, read on 2026-11-22.
"""

from edge.parameters import ANY, NAME, SWITCH, TEXT, Parameter, Unserved
from protocol.errors import ServiceError, UnsupportedParameter, UnsupportedValue

BY_TARGETS = "targets cache as they do by themselves"

OPENAI: dict[str, Parameter] = {
    "model": Parameter("honoured", NAME, "required, never null; a name of `/v1/models`, or `openai/<id>`"),
    "input": Parameter(
        "honoured",
        "a string, or a list of items",
        "a string is one user message; may be left out only with `previous_response_id`",
    ),
    "instructions": Parameter("honoured", TEXT, "a system message in front, for this answer alone; echoed"),
    "previous_response_id": Parameter(
        "honoured", TEXT, "the turn goes on from that response; an empty string is none; echoed"
    ),
    "store": Parameter("honoured", SWITCH, "true where it is left out; false: nobody can go on from this response"),
    "stream": Parameter("honoured", SWITCH, "server-sent events instead of one body"),
    "include": Parameter(
        "honoured",
        "a list of strings",
        "`reasoning.encrypted_content` and `message.output_text.logprobs` are asked of the target; others are ignored",
    ),
    "temperature": Parameter("passed", "0 to 2", "echoed; 1 where it is left out"),
    "top_p": Parameter("passed", "0 to 1", "echoed; 1 where it is left out"),
    "max_output_tokens": Parameter("passed", "a whole number", "0 and below count as none; echoed"),
    "top_logprobs": Parameter("passed", "0 to 20", "counts with `message.output_text.logprobs` in `include`; echoed"),
    "reasoning": Parameter(
        "passed",
        "an object",
        "`effort` and `summary`, strings whose words are the target's matter; `generate_summary` is the older name",
    ),
    "text": Parameter(
        "passed",
        "an object",
        "`format`: `text`, `json_object` or `json_schema`, the schema byte for byte; `verbosity`: a string; echoed",
    ),
    "truncation": Parameter("passed", "`auto` or `disabled`", "targets of the same API cut by it; echoed"),
    "service_tier": Parameter(
        "passed",
        "`auto`, `default`, `flex`, `scale`, `priority`, `fast` or `ultrafast`",
        "the response says `default`",
    ),
    "user": Parameter("passed", TEXT, "`user_id` stands in where it is absent; echoed"),
    "tools": Parameter(
        "passed",
        "a list of functions",
        "`parameters` byte for byte; `strict` as it came, none where it is left out; hosted tools are refused; echoed",
    ),
    "tool_choice": Parameter(
        "passed",
        "`none`, `auto`, `required`, one function, or `allowed_tools`",
        "of `allowed_tools` the target is offered only those; echoed",
    ),
    "parallel_tool_calls": Parameter(
        "passed", SWITCH, "false: one call at most, whatever the target makes of it; echoed"
    ),
    "metadata": Parameter(
        "honoured",
        "an object of strings; any other shape counts as none",
        "may name the call (`call_id`, `conversation_id`) and set the pace of built-in models; no target sees it; "
        "echoed",
    ),
    "max_tool_calls": Parameter(
        "honoured", "a whole number from 1", "echoed; it bounds calls of hosted tools, and there are none"
    ),
    "safety_identifier": Parameter("honoured", TEXT, "echoed; `user` is passed on"),
    "prompt_cache_key": Parameter("honoured", TEXT, f"echoed; {BY_TARGETS}"),
    "background": Parameter("honoured", "false", "true is refused"),
    "conversation": Parameter("refused", "nothing", "go on from a response by `previous_response_id`"),
    "prompt": Parameter("refused", "nothing", "prompts of your own lie in this line's settings"),
    "access_programs": Parameter("ignored", ANY, "they are OpenAI's own"),
    "context_management": Parameter("ignored", ANY, "a history is never made shorter here"),
    "image": Parameter("ignored", ANY, "images go to the target as they came"),
    "moderation": Parameter("ignored", ANY, "nothing is moderated here, and the answer says nothing of it"),
    "prompt_cache_options": Parameter("ignored", ANY, BY_TARGETS),
    "prompt_cache_retention": Parameter("ignored", ANY, BY_TARGETS),
    "stream_options": Parameter("ignored", ANY, "no event is padded"),
}
"""What the API itself has."""

OPEN_RESPONSES: dict[str, Parameter] = {
    "presence_penalty": Parameter("passed", "-2 to 2", "echoed; 0 where it is left out"),
    "frequency_penalty": Parameter("passed", "-2 to 2", "echoed; 0 where it is left out"),
}
"""What the Open Responses specification has beside that."""

HOSTED = {
    *("file_search", "web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"),
    *("computer", "computer_use", "computer_use_preview", "mcp", "code_interpreter", "programmatic_tool_calling"),
    *("image_generation", "local_shell", "shell", "custom", "namespace", "tool_search", "apply_patch"),
}
"""Tools that OpenAI runs itself, or whose calls are no functions'."""

UNSERVED: dict[str, Unserved] = {
    "background": Unserved(
        UnsupportedParameter, "background", "'background' is not served here: leave it out, and read the answer at once"
    ),
    "conversation": Unserved(
        UnsupportedParameter,
        "conversation",
        "'conversation' is not served here: go on from a response by 'previous_response_id'",
    ),
    "prompt": Unserved(
        UnsupportedParameter, "prompt", "'prompt' is not served here: send its text in 'instructions' and 'input'"
    ),
    "hosted tools": Unserved(
        UnsupportedParameter,
        "tools[0].type",
        "hosted and custom tools are not served here: offer a function of your own, and answer its calls",
    ),
    "an image by its id": Unserved(
        UnsupportedValue,
        "input[0].content[0].file_id",
        "an image cannot be had by 'file_id' here: send it in 'image_url', as a URL or a data URL",
    ),
}


def unserved(what: str, *, param: str | None = None) -> ServiceError:
    """The error for a value of `UNSERVED`; `param` where it can stand in several places."""
    return UNSERVED[what].at(param)
