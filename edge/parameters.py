"""Every parameter of POST /v1/chat/completions, and what becomes of it; every value that is refused.

One table: bodies are refused by it, docs/chat-completions.md shows it, and tests hold both against the form of a body
and against the parameters that OpenAI's own client knows.

Source: the API contract, sections 1.5 and 1.9; the parameters of openai-python 3.52.
"""

from typing import Literal, NamedTuple

from protocol.errors import ServiceError, UnsupportedParameter, UnsupportedValue

Fate = Literal["honoured", "passed", "ignored", "refused"]
FATES: dict[Fate, str] = {
    "honoured": "the edge acts on it, or words the answer by it; the target is told what it needs for that",
    "passed": "it goes to the target in the form of the target's API; one that does not know it may ignore it",
    "ignored": "it may come, in any shape; nothing is done with it, and no target sees it",
    "refused": "every value but null is an error that names it",
}


class Parameter(NamedTuple):
    """One parameter. `values`: what it may hold beside null, which is the same as leaving it out."""

    fate: Fate
    values: str
    note: str


NAME = "a name"
TEXT = "a string"
ANY = "anything"
SWITCH = "true or false"

OPENAI: dict[str, Parameter] = {
    "model": Parameter("honoured", NAME, "required, never null; a name of `/v1/models`, or `openai/<id>`"),
    "messages": Parameter(
        "honoured",
        "a list, not empty",
        "required, never null; roles `developer`, `system`, `user`, `assistant`, `tool` and, legacy, `function`",
    ),
    "stream": Parameter("honoured", SWITCH, "server-sent events instead of one body"),
    "stream_options": Parameter(
        "honoured",
        "an object",
        "`include_usage`: one more chunk with the usage; `include_obfuscation` is ignored. Without `stream` nothing",
    ),
    "n": Parameter("honoured", "1", "more than one answer is refused: a voice has one mouth"),
    "modalities": Parameter("honoured", "a list of strings", "answers are text; `audio` in it is refused"),
    "temperature": Parameter("passed", "0 to 2", ""),
    "top_p": Parameter("passed", "0 to 1", ""),
    "presence_penalty": Parameter("passed", "-2 to 2", ""),
    "frequency_penalty": Parameter("passed", "-2 to 2", ""),
    "max_completion_tokens": Parameter("passed", "a whole number", "0 and below count as none; before `max_tokens`"),
    "max_tokens": Parameter("passed", "a whole number", "the older name; 0 and below count as none"),
    "stop": Parameter("passed", "a string, or up to 4", "empty strings are left out"),
    "seed": Parameter("passed", "a whole number", "of 64 bits"),
    "logprobs": Parameter("passed", SWITCH, "what the target says of its tokens comes back beside the content"),
    "top_logprobs": Parameter("passed", "0 to 20", "needs `logprobs`"),
    "logit_bias": Parameter("passed", "an object", "byte for byte"),
    "reasoning_effort": Parameter("passed", TEXT, "which words there are is the target's matter"),
    "verbosity": Parameter("passed", TEXT, "which words there are is the target's matter"),
    "service_tier": Parameter("passed", "`auto`, `default`, `flex`, `scale`, `priority` or `fast`", ""),
    "user": Parameter("passed", TEXT, "`user_id` stands in where it is absent"),
    "tools": Parameter(
        "passed", "a list of functions", "`parameters` and `strict` as they came; custom tools are refused"
    ),
    "tool_choice": Parameter(
        "passed",
        "`none`, `auto`, `required`, one function, or `allowed_tools`",
        "of `allowed_tools` the target is offered only those",
    ),
    "parallel_tool_calls": Parameter("passed", SWITCH, "false: one call at most, whatever the target makes of it"),
    "functions": Parameter(
        "honoured", "a list of functions", "legacy: they become `tools`, and a call is answered as one `function_call`"
    ),
    "function_call": Parameter(
        "honoured", "`none`, `auto`, `required`, or one function", "legacy: counts where there is no `tool_choice`"
    ),
    "response_format": Parameter(
        "passed",
        "`text`, `json_object` or `json_schema`",
        "the schema byte for byte; half an answer in JSON is never gone on with",
    ),
    "metadata": Parameter(
        "honoured",
        "an object of strings; any other shape counts as none",
        "may name the call (`call_id`, `conversation_id`) and set the pace of built-in models; no target sees it",
    ),
    "web_search_options": Parameter("refused", "nothing", "offer a search of your own in `tools`"),
    "audio": Parameter("ignored", ANY, "how speech would sound; asking for speech is refused at `modalities`"),
    "moderation": Parameter("ignored", ANY, "nothing is moderated here, and the answer says nothing of it"),
    "prediction": Parameter("ignored", ANY, "it makes some models faster, never different"),
    "prompt_cache_key": Parameter("ignored", ANY, "targets cache as they do by themselves"),
    "prompt_cache_options": Parameter("ignored", ANY, "targets cache as they do by themselves"),
    "prompt_cache_retention": Parameter("ignored", ANY, "targets cache as they do by themselves"),
    "safety_identifier": Parameter("ignored", ANY, "`user` is passed on"),
    "store": Parameter("ignored", ANY, "no chat completion is stored"),
}
"""What the API itself has."""

PLATFORMS: dict[str, Parameter] = {
    "elevenlabs_extra_body": Parameter(
        "honoured", ANY, "ElevenLabs: may name the call; an object is kept; no target sees it"
    ),
    "fishaudio_extra_body": Parameter(
        "honoured", ANY, "Fish Audio: may name the call; an object is kept; no target sees it"
    ),
    "extra_metadata": Parameter("honoured", ANY, "Telnyx: may name the call; an object is kept; no target sees it"),
    "context": Parameter("honoured", ANY, "Agora: may name the call; an object is kept; no target sees it"),
    "call": Parameter("honoured", ANY, "Vapi: its `id` names the call; an object is kept; no target sees it"),
    "session_id": Parameter("honoured", ANY, "names the call; no target sees it"),
    "user_id": Parameter("honoured", ANY, "a string is `user` where that is absent"),
}
"""What voice platforms add, beside fields that are skipped."""


class Unserved(NamedTuple):
    """A value that is refused. `param`: where it stands; the index is that of the entry at fault."""

    error: type[ServiceError]
    param: str
    message: str

    def at(self, param: str | None) -> ServiceError:
        """The error, which names the place; `param` where it can stand in several."""
        at = param or self.param
        return self.error(self.message if f"'{at}'" in self.message else f"'{at}': {self.message}", param=at)


UNSERVED: dict[str, Unserved] = {
    "more than one answer": Unserved(UnsupportedValue, "n", "'n' must be 1 here: one answer is made per request"),
    "audio output": Unserved(
        UnsupportedParameter,
        "modalities",
        "audio output is not served here: leave 'audio' out of 'modalities'; answers are text",
    ),
    "web search": Unserved(
        UnsupportedParameter,
        "web_search_options",
        "'web_search_options' is not served here: leave it out, or offer a search of your own in 'tools'",
    ),
    "custom tools": Unserved(
        UnsupportedValue,
        "tools[0].type",
        "custom tools are not served here: describe it as a function with a JSON Schema",
    ),
}


def unserved(what: str, *, param: str | None = None) -> ServiceError:
    """The error for a value of `UNSERVED`; `param` where it can stand in several places."""
    return UNSERVED[what].at(param)
