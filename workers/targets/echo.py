"""The built-in models: deterministic, without a network, for tests and demonstrations.

`echo` says the last user message back, word by word; `echo-tools` calls tools; `echo-json` makes JSON; `echo-reasoning`
thinks first, and knows its own thoughts again where they come back sealed. Commands in the request's metadata pace them
and make them fail, see `echo_commands`.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from protocol.errors import UpstreamError, UpstreamTimeout
from protocol.messages import Finished, Frame, Job, Reasoning, Text, Timings, TokenLogprob
from workers.targets import Patience, echo_commands
from workers.targets.echo_commands import MAX_S, Commands, Fail
from workers.targets.echo_script import script, usage

BREATH = 16  # frames: an unpaced answer lets others run that often


class Echo:
    """One built-in model."""

    def __init__(self, name: str) -> None:
        self.name = name

    def takes(self, job: Job) -> bool:
        """See `Target.takes`."""
        return True

    async def stream(self, job: Job, *, headers: Mapping[str, str], patience: Patience) -> AsyncGenerator[Frame, None]:
        """The answer as frames; see `Target.stream`. There is no upstream, so `headers` go nowhere."""
        commands = echo_commands.read(job.metadata)
        answer = script(self.name, job, commands)
        if commands.fail is not None and commands.fail.fault == "before":
            raise UpstreamError(f"target {self.name!r} answered 503")
        in_time = answer.frames[: _tokens_in_time(commands)]
        frames = _until_fault(in_time, commands.fail)
        if job.sampling.logprobs:
            frames = [_with_logprobs(frame, job.sampling.top_logprobs or 0) for frame in frames]
        pace = _Pace(self.name, patience, commands)
        for number, frame in enumerate(frames):
            await pace.reach(number)
            pace.say(frame)
            yield frame
        await self._break_off(commands.fail, pace, len(frames))
        if pace.first_content_ms is None and not job.said:
            raise UpstreamError(f"empty answer from target {self.name!r}")
        reason = answer.reason if len(in_time) == len(answer.frames) else "length"
        yield Finished(reason, usage(job, frames), self.name, pace.timings())

    async def _break_off(self, fail: Fail | None, pace: "_Pace", said: int) -> None:
        """Do after the last token what the command says. Raises UpstreamError, UpstreamTimeout."""
        if fail is None or fail.fault == "malformed":  # a malformed line is skipped: nobody hears of it
            return
        if fail.fault == "stall":
            await pace.stall()
        await pace.reach(said)
        if fail.fault == "cut":
            raise UpstreamError(f"target {self.name!r} broke off: its answer ended without a finish reason")
        raise UpstreamError(f"empty answer from target {self.name!r} (finish reason 'stop')")


def _with_logprobs(frame: Frame, top: int) -> Frame:
    """It could have said nothing else: every token is certain."""
    if not isinstance(frame, Text):
        return frame
    token = (frame.text, 0.0, tuple(frame.text.encode()))
    return Text(frame.text, (TokenLogprob(*token, (TokenLogprob(*token),) if top else ()),))


def _tokens_in_time(commands: Commands) -> int | None:
    """How many tokens are due within the 60 s that an answer may take. None: as many as there are."""
    return int((MAX_S - commands.first_s) * commands.rate) + 1 if commands.rate else None


def _until_fault(frames: Sequence[Frame], fail: Fail | None) -> Sequence[Frame]:
    """The frames before the one at which the answer breaks off; reasoning does not count."""
    if fail is None or fail.fault == "malformed":
        return frames
    if fail.fault == "empty":
        return []
    content = [at for at, frame in enumerate(frames) if not isinstance(frame, Reasoning)]
    return frames[: content[fail.after]] if fail.after < len(content) else frames


class _Pace:
    """When each token is due: at moments fixed from the start, so that a late one makes no other later.

    Patience with it ends, as it does with a real target.
    """

    def __init__(self, name: str, patience: Patience, commands: Commands) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._first_s = commands.first_s
        self._token_s = 1 / commands.rate if commands.rate else 0.0
        self._total_s = min(patience.total_s, MAX_S)
        self._limit_s = min(patience.budget_s, self._total_s)  # to the first content, then to the end
        self.first_content_ms: float | None = None

    def say(self, frame: Frame) -> None:
        """A frame goes out now."""
        if self.first_content_ms is None and not isinstance(frame, Reasoning):
            self.first_content_ms = self._elapsed_s() * 1000
            self._limit_s = self._total_s

    async def reach(self, number: int) -> None:
        """Return when the token of that number, from 0 on, is due. Raises UpstreamTimeout."""
        due_s = self._first_s + number * self._token_s
        if due_s > self._limit_s:
            await self.stall()
        wait_s = due_s - self._elapsed_s()
        if wait_s > 0 or number % BREATH == BREATH - 1:
            await asyncio.sleep(max(0.0, wait_s))

    async def stall(self) -> None:
        """Say nothing until time is up. Raises UpstreamTimeout."""
        await asyncio.sleep(max(0.0, self._limit_s - self._elapsed_s()))
        raise UpstreamTimeout(f"target {self._name!r}: nothing came until {self._limit_s:g} s were over")

    def timings(self) -> Timings:
        """Until now."""
        return Timings(self.first_content_ms, self._elapsed_s() * 1000)

    def _elapsed_s(self) -> float:
        return self._loop.time() - self._start
