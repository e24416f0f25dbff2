"""OpenAI's own client on answers that a test gives it: no socket, its real parser."""

from collections.abc import Iterator
from typing import Any

import httpx2
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

MESSAGES: Any = [{"role": "user", "content": "hello"}]


class OfficialClient:
    """Every request is answered with what `answer` was told last."""

    def __init__(self) -> None:
        http = httpx2.Client(transport=httpx2.MockTransport(lambda _: self._response))
        self._chat = OpenAI(api_key="k", base_url="http://edge/v1", max_retries=0, http_client=http).chat.completions

    def answer(self, pieces: Iterator[bytes], *, stream: bool, status: int = 200) -> None:
        """The bytes of the next answer, as they arrive."""
        kind = "text/event-stream" if stream else "application/json"
        self._response = httpx2.Response(status, headers={"content-type": kind}, content=pieces)

    def chunks(self) -> Iterator[ChatCompletionChunk]:
        """`create(stream=True)`."""
        return iter(self._chat.create(model="m", messages=MESSAGES, stream=True))

    def body(self) -> ChatCompletion:
        """`create()`."""
        return self._chat.create(model="m", messages=MESSAGES)

    def joined(self) -> ChatCompletion:
        """`stream()`: a stream put together by the client itself."""
        with self._chat.stream(model="m", messages=MESSAGES, stream_options={"include_usage": True}) as stream:
            stream.until_done()
            return stream.current_completion_snapshot
