"""A simulator of each platform's client: it calls a backend turn by turn, by its platform's rules.

    async with aiohttp.ClientSession() as web:
        call = Call(PLATFORMS["elevenlabs"], web, "http://127.0.0.1:8080/v1", pace=0.3, model="front-desk")
        turn = await call.turn("What are your hours?")

`pace` is how long one of the platform's seconds lasts: whoever scales the clocks scales the backend's as well.
"""

import asyncio
import contextlib
import json
import re
import secrets
import time
from typing import Any

import aiohttp
import jsonschema_rs
from msgspec import Struct, field

from tests.platforms.apis import CHAT, Api, ResponseHearing
from tests.platforms.hearing import Hearing, ToolCall
from tests.platforms.platforms import CALLER_S, CALLER_TURNS, Platform, retries
from tests.platforms.requests import PROMPT, REQUESTS, Message

FLUSH = re.compile(r"\s*</?flush ?/?>\s*", re.IGNORECASE)  # Vapi's mark, as its documentation has it read
SPACE = " "
GUESS_S = 0.5  # a guess at what the caller will have said is given up after this
AHEAD = 3  # words that were sent and not yet played when a caller speaks again
ROUNDS = 4  # requests with results of tools, in one turn


class Turn(Struct):
    """What became of one turn."""

    said: str  # by the caller
    heard: str = ""  # by the caller, as speech synthesis got it
    executed: list[ToolCall] = field(default_factory=list)
    unfit: list[ToolCall] = field(default_factory=list)  # of those, by their own schema
    hearings: list[Hearing] = field(default_factory=list)  # one for each request that was answered
    headers: list[dict[str, str]] = field(default_factory=list)  # of these answers
    failures: list[str] = field(default_factory=list)  # of requests
    failed: bool = False  # the last of them
    cut: bool = False  # by the caller
    warnings: int = 0
    silence_s: float = 0.0  # the longest wait for the first content of a request, in the platform's seconds

    @property
    def silent(self) -> bool:
        """Nothing was said and nothing done."""
        return not self.heard.strip() and not self.executed


class Failure(Struct):
    """Of one request. `begun`: something was received before."""

    why: str
    status: int = 0
    headers: dict[str, str] = {}
    begun: bool = False


class Call:
    """One call. `dropped` says why it has ended where it should not have."""

    def __init__(
        self,
        platform: Platform,
        web: aiohttp.ClientSession,
        base_url: str,
        *,
        pace: float,
        model: str,
        call_id: str = "",
        key: str = "",
        api: Api = CHAT,
    ) -> None:
        self.platform = platform
        self.call_id = call_id or f"call-{secrets.token_hex(6)}"
        self.messages: list[Message] = [{"role": platform.system_role, "content": PROMPT}]
        self.turns: list[Turn] = []
        self.dropped = ""
        self.requests = 0  # those included that it hung up on
        self.continued = 0  # of them, those that go on from a response
        self.ended = False  # by the agent, as it was told to
        self._web = web
        self._api = api
        self._url = f"{base_url}{api.path}"
        self._chain = ("", 0)  # the response to go on from, and how many messages lead to it and are of it
        self._pace = pace
        self._model = model
        self._key = key

    async def turn(self, said: str, *, hear: int | None = None, posts: int = 1) -> Turn:
        """The caller says something and hears the answer, or `hear` words of it: then he speaks again.

        `posts`: the platform asks so often, and hangs up on all but the last.
        """
        turn = Turn(said)
        self.turns.append(turn)
        self.messages.append({"role": "user", "content": said})
        if self.platform.speculates:
            await self._guess(said.partition(" (")[0])
        for _ in range(posts - 1):
            await self._guess(said)
        await self._answer(turn, hear)
        self._judge(turn)
        return turn

    async def _answer(self, turn: Turn, hear: int | None) -> None:
        """Ask, run the tools that are called, and ask again."""
        for _ in range(ROUNDS):
            hearing = await self._ask(turn, hear)
            if hearing is None:
                turn.failed = True
                turn.heard += self.platform.hold_line
                return
            text = self._spoken(hearing.text)
            if turn.cut and hear is not None:
                self._keep_cut(turn, text, hear)
                return
            turn.heard += text
            results = [self._run(turn, call) for call in hearing.calls]
            self._keep(text, hearing, results)
            if self.ended or not hearing.calls or any(call.name == "skip_turn" for call in hearing.calls):
                return

    async def _ask(self, turn: Turn, hear: int | None) -> Hearing | None:
        """The answer, after as many requests as the platform makes; None: all have failed."""
        platform = self.platform
        for number in range(platform.tries):
            if number:
                await asyncio.sleep(self._pace * platform.waits_s[min(number, len(platform.waits_s)) - 1])
            hearing = self._api.hearing(platform)
            failure = await self._request(turn, hearing, hear)
            if failure is None:
                return hearing
            turn.failures.append(failure.why)
            if failure.begun or not retries(platform, failure.status, failure.headers):
                self._broken(turn, self._spoken(hearing.text))
                break
        return None

    async def _request(self, turn: Turn, hearing: Hearing, hear: int | None) -> Failure | None:
        """One request, by the platform's clock."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._pace * self.platform.patience_s) as clock:
                return await self._exchange(turn, hearing, hear, clock)
        except TimeoutError:
            return Failure("the platform's time ran out", begun=hearing.has_begun)
        except aiohttp.ClientError as error:
            return Failure(f"the connection broke: {type(error).__name__}", begun=hearing.has_begun)
        finally:
            self._waited(turn, (hearing.begun_at or time.monotonic()) - began)

    async def _exchange(self, turn: Turn, hearing: Hearing, hear: int | None, clock: asyncio.Timeout) -> Failure | None:
        """Raises TimeoutError, aiohttp.ClientError."""
        headers, body = self._form(self.messages)
        async with self._web.post(self._url, json=body, headers=headers) as answer:
            turn.headers.append({name.lower(): value for name, value in answer.headers.items()})
            turn.hearings.append(hearing)
            if answer.status == 499 and self.platform.name == "livekit":
                return None  # taken as an end, not as a failure
            if answer.status != 200:
                return Failure(f"status {answer.status}", answer.status, turn.headers[-1])
            async for data in answer.content.iter_any():
                hearing.feed(data)
                self._wind(clock, hearing)
                if hear is not None and self._was_played(hearing, hear):
                    turn.cut = True
                    answer.close()
                    return None
        hearing.close()
        if hearing.error:
            return Failure("an error in the stream", begun=hearing.has_begun)
        return Failure("an empty answer") if self.platform.empty_fails and not hearing.has_begun else None

    def _was_played(self, hearing: Hearing, words: int) -> bool:
        """So many words, of an answer that goes on."""
        return len(self._spoken(hearing.text).split()) >= words + AHEAD and not hearing.done

    def _wind(self, clock: asyncio.Timeout, hearing: Hearing) -> None:
        """Something was read: does the clock start again?"""
        now = asyncio.get_running_loop().time()
        if hearing.has_begun and hearing.begun_at is None:
            hearing.begun_at = time.monotonic()
        if self.platform.watches == "bytes":
            clock.reschedule(now + self._pace * self.platform.patience_s)
        elif hearing.has_begun:
            clock.reschedule(now + self._pace * CALLER_S)

    def _waited(self, turn: Turn, real_s: float) -> None:
        """So long there was nothing to be heard of a request."""
        waited_s = real_s / self._pace
        turn.silence_s = max(turn.silence_s, waited_s)
        if self.platform.warns_every_s:
            turn.warnings += int(waited_s / self.platform.warns_every_s)

    async def _guess(self, said: str) -> None:
        """A request that the platform hangs up on. What it brings is not spoken."""
        headers, body = self._form([*self.messages[:-1], {"role": "user", "content": said}])
        hearing = self._api.hearing(self.platform)
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with (
                asyncio.timeout(self._pace * GUESS_S),
                self._web.post(self._url, json=body, headers=headers) as answer,
            ):
                async for data in answer.content.iter_any():
                    hearing.feed(data)
                    if hearing.has_begun:
                        answer.close()
                        return

    def _form(self, messages: list[Message]) -> tuple[dict[str, str], dict[str, Any]]:
        self.requests += 1
        patience_s = self._pace * self.platform.patience_s
        previous, known = self._chain
        self.continued += bool(previous)
        headers, body = REQUESTS[self.platform.name](messages[known:], self._model, self.call_id, patience_s)
        body = self._api.body(body) | ({"previous_response_id": previous} if previous else {})
        return {**headers, "Authorization": f"Bearer {self._key}"} if self._key else headers, body

    def _spoken(self, text: str) -> str:
        return FLUSH.sub(SPACE, text) if self.platform.flush else text

    def _run(self, turn: Turn, call: ToolCall) -> str:
        """Do as the model says, at once; the result."""
        turn.executed.append(call)
        if not self._fits(call):
            turn.unfit.append(call)
            return '{"status": "error", "error": "the arguments do not fit"}'
        self.ended |= call.name == self.platform.end_tool
        return '{"status": "success"}'

    def _fits(self, call: ToolCall) -> bool:
        _, body = REQUESTS[self.platform.name](self.messages, self._model, self.call_id, 1.0)
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in body["tools"]}
        try:
            arguments = json.loads(call.arguments or "{}")
        except ValueError:
            return False
        return call.name in schemas and jsonschema_rs.is_valid(schemas[call.name], arguments)

    def _keep(self, text: str, hearing: Hearing, results: list[str]) -> None:
        """The history as the platform sends it from then on."""
        self._keep_answer(text, hearing.calls)
        self._go_on_from(hearing)
        for call, result in zip(hearing.calls, results, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    def _go_on_from(self, hearing: Hearing | None) -> None:
        """From what was answered last; None: from the beginning, with all that was said."""
        self._chain = ("", 0)
        if self._api.chained and isinstance(hearing, ResponseHearing) and hearing.completed:
            self._chain = (hearing.id, len(self.messages))

    def _keep_answer(self, text: str, calls: list[ToolCall]) -> None:
        if not calls:
            if text or self.platform.name == "elevenlabs":
                self.messages.append({"role": "assistant", "content": text or None})
            return
        told: Message = {"role": "assistant"}
        if text or self.platform.calls == "plain":
            told["content"] = text or None
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
        self.messages.append(told)

    def _broken(self, turn: Turn, text: str) -> None:
        """It was spoken as it came."""
        turn.heard += text
        if text.strip():
            self._keep_answer(text, [])
            self._go_on_from(None)

    def _keep_cut(self, turn: Turn, text: str, words: int) -> None:
        """What was played before the caller spoke again; nothing: there is no message of it."""
        self._go_on_from(None)
        found = re.match(rf"(\s*\S+){{0,{words}}}", text)
        played = found[0] if found else ""
        turn.heard += played
        if played.strip():
            mark = "..." if self.platform.marks_cuts else ""
            self.messages.append({"role": "assistant", "content": f"{played.rstrip()}{mark}"})

    def _judge(self, turn: Turn) -> None:
        """Is this where the call ends?"""
        limit = self.platform.drops_after
        last = self.turns[-(limit or CALLER_TURNS) :]
        if limit and len(last) == limit and all(one.failed for one in last):
            self.dropped = f"{self.platform.name}: {', '.join(turn.failures)}"
        if limit is None and len(last) == CALLER_TURNS and all(one.silent and not one.cut for one in last):
            self.dropped = f"the caller: nothing was said; {', '.join(turn.failures) or 'no failure'}"
