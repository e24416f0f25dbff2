"""The values that settings may have. A description says what one must be; the error about a wrong one quotes it."""

from typing import Annotated, Literal

from msgspec import Meta

DAY_S = 86_400.0

Port = Annotated[int, Meta(ge=0, le=65535, description="a port: a whole number from 0 (any free one) to 65535")]
Count = Annotated[int, Meta(ge=1, le=2**40, description="a whole number, at least 1")]
Seconds = Annotated[float, Meta(gt=0, le=DAY_S, description="a number of seconds, more than 0 and at most 86400")]
Pause = Annotated[float, Meta(ge=0.1, le=DAY_S, description="a number of seconds from 0.1 to 86400")]
Grace = Annotated[float, Meta(ge=0, le=DAY_S, description="a number of seconds from 0 to 86400")]
Words = Annotated[str, Meta(pattern=r"\S", description="a string that is not blank")]
Pool = Annotated[str, Meta(pattern=r"\A[a-z0-9_-]+\Z", description="a pool's name: a-z, 0-9, _ and -")]
Pools = Annotated[
    tuple[Pool, ...],
    Meta(min_length=1, description="a list with at least one item, each item a pool's name: a-z, 0-9, _ and -"),
]
Token = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]+\Z", description="one NATS token: letters, digits, _ and -")]
ApiVersion = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]+\Z", description="a version such as 2024-10-21")]
Stop = Annotated[str, Meta(min_length=1, description="a string that is not empty")]
Header = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9-]+\Z", description="a header's name: letters, digits and -")]
Language = Annotated[
    str, Meta(pattern=r"\A[a-z]{2,3}(-[A-Za-z0-9]+)*\Z", description="a language such as en, de or pt-BR")
]
Origin = Annotated[
    str,
    Meta(
        pattern=r"\A(\*|[a-z][a-z0-9+.-]*://[^\s/,?#@A-Z]+)\Z",
        description="an origin as browsers send it, such as https://app.example.com: lower case, no path; or *",
    ),
]
Variable = Annotated[
    str,
    Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z", description="the name of an environment variable, not a key itself"),
]
HttpUrl = Annotated[
    str,
    Meta(
        pattern=r"\Ahttps?://[^/\s@?#]+(/[^\s@?#]*)?\Z", description="an http:// or https:// URL without user or query"
    ),
]
NatsUrl = Annotated[
    str,
    Meta(
        pattern=r"\A(nats|tls|wss?)://[^\s,]+(,(nats|tls|wss?)://[^\s,]+)*\Z",
        description="a NATS URL such as nats://127.0.0.1:4222, or several of one cluster, with commas",
    ),
]
Share = Annotated[float, Meta(ge=0, le=1, description="a share, from 0 to 1")]
Failures = Annotated[float, Meta(gt=0, le=1, description="a share, more than 0 and at most 1")]
Percentile = Annotated[float, Meta(gt=0, lt=1, description="a share between 0 and 1, such as 0.95")]
Price = Annotated[float, Meta(ge=0, le=1e9, description="a price per million tokens, 0 or more")]
Number = Annotated[int, Meta(ge=0, le=2**20, description="a whole number, at least 0")]
Dialect = Literal["chat-completions", "responses", "messages"]
MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
Parameter = Literal[  # by its name in a chat completion, the last three by a sampling's; `name` is a message's
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "stream_options",
    "user",
    "name",
    "reasoning_summary",
    "encrypted_reasoning",
    "truncation",
]
