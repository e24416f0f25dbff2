"""One turn's way through its targets: which one answers. The caller hears one answer, or one error.

Targets are tried in order, inside the turn's budget; until one brings content, any failure that another target may not
share goes on to the next. After content only a plain text that was lost may be continued, where the job says so.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from protocol.errors import EmptyAnswer, Interrupted, ServiceError, UpstreamTimeout, to_failed
from protocol.lifecycle import Claim
from protocol.messages import Attempt, Failed, Finished, Frame, Job, Refusal, Text, Timings, Usage
from protocol.spans import Span
from workers.attempts import OUTRUN, SKIPPED, UNSUPPORTED, Try, attributes_of, chat_span
from workers.claims import Delivery
from workers.metrics import Metrics
from workers.race import Race
from workers.routes import Choice, Route, Way
from workers.targets import Patience
from workers.tools.checked import Checked
from workers.verdicts import most_telling, verdict_of

CONTINUATIONS = 2  # of one turn, by its worker
RETRY_BUDGET, WAITED, EMPTY = "retry_budget", "waited", "empty"
CONTINUES, TOOL_REPAIR = "continues", "tool_repair"


class Cascade:
    """One turn. `clock` counts seconds; its budgets are counted from here on."""

    def __init__(
        self, delivery: Delivery, route: Route, span: Span, *, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._delivery = delivery
        self._job = delivery.job
        self._route = route
        self._span = span
        self._metrics = metrics
        self._clock = clock
        self._began = clock()
        self._first_seq = delivery.next_seq
        self._way = Way(route.choices, self._skip, lambda choice: choice.target.takes(self._job))
        self._tries: list[Try] = []
        self._all: list[Try | Attempt] = []  # the same, with what was passed over between them
        self._checked = Checked(delivery, route.gates, metrics) if delivery.job.check_tools else None

    async def run(self) -> None:
        """Answer: exactly one last frame leaves, and when it does every connection that was opened is closed."""
        try:
            last = await self._answer()
        except asyncio.CancelledError:
            error = self._delivery.stopped_for or Interrupted("the worker stops")
            await self._close(to_failed(error), error)
            if self._delivery.stopped_for is None:
                raise  # nobody asked for it: the process ends
        except ServiceError as error:
            await self._close(to_failed(error), error)
        except Exception as error:
            for one in self._tries:
                one.abandon(error)
            raise
        else:
            await self._close(last)
        finally:
            del self._way  # it holds us: a ring would wait for the garbage collector, with all that was said in it

    async def _answer(self) -> Finished | Failed:
        """The last frame. Raises ServiceError."""
        self._route.retries.turn(self._began)
        self._route.hedges.turn()
        while (one := await self._next()) is not None:
            one = await self._listen(one)
            if one.error is None and one.last is not None:
                return await self._ended(one, one.last)
            if one.spoke:
                return await self._continue(one)
            if any(not verdict_of(error).next for error in self._errors):
                break
        raise most_telling(self._errors)

    # --- which target, and how long ------------------------------------------------------------------

    async def _next(self) -> Try | None:
        """A request to the next target; None: there is none, or no time or request may be spent on it."""
        now, waited, reason = self._clock(), None, ""
        if self._tries and self._budget_s(now) <= 0:
            return None
        choice = self._way.next(now) or self._way.last_way_out()
        if choice is None and (choice := self._empty()) is not None:
            reason = EMPTY
        elif choice is None and (waited := self._way.wait(self._began + self._budget_s(self._began))):
            choice, reason = waited.choice, WAITED
        if choice is None or not self._may_ask(choice):
            return None
        if waited is not None:
            await asyncio.sleep(max(0.0, waited.at - now))
        return self._try(choice, reason=reason)

    def _empty(self) -> Choice | None:
        """The target that had nothing to say, once: where no other one has tried that too, it may have now."""
        empty = [one.choice for one in self._tries if isinstance(one.error, EmptyAnswer)]
        return empty[0] if len(empty) == 1 else None

    def _may_ask(self, choice: Choice) -> bool:
        """Whether the turn's first request, or one more of the model's budget, may go to a target."""
        asked = any(not isinstance(one.error, UNSUPPORTED) for one in self._tries)
        if not asked or self._route.retries.draw(self._clock()):
            return True
        self._skip(choice, RETRY_BUDGET)
        return False

    def _try(
        self,
        choice: Choice,
        *,
        job: Job | None = None,
        hedge: bool = False,
        reason: str = "",
        limit_s: float | None = None,
    ) -> Try:
        now = self._clock()
        is_last = reason == TOOL_REPAIR or not self._may_go_on(now)
        patience = Patience(self._budget_s(now), self._total_s(now), last=is_last)
        if self._delivery.state is Claim.SPEAKING:  # the caller waits again, as long as for a first word
            patience = patience._replace(budget_s=min(self._job.budget_ms / 1000, patience.total_s))
        if limit_s is not None:
            patience = patience._replace(
                budget_s=min(limit_s, patience.budget_s), total_s=min(limit_s, patience.total_s)
            )
        one = Try(
            self._delivery,
            choice,
            job or self._job,
            patience,
            parent=self._span,
            clock=self._clock,
            holds=hedge or not patience.last,
            drops=self._delivery.next_seq > self._first_seq,
            hedge=hedge,
            reason=reason,
        )
        self._tries.append(one)
        self._all.append(one)
        return one

    def _may_go_on(self, now: float) -> bool:
        return self._way.goes_on(now) and self._route.retries.has(now)

    def _budget_s(self, now: float) -> float:
        """What is left for the first content."""
        return min(self._left_s(now, self._job.budget_ms), self._total_s(now))

    def _total_s(self, now: float) -> float:
        return self._left_s(now, self._job.total_ms)

    def _left_s(self, now: float, of_ms: int) -> float:
        return round(of_ms / 1000 - (now - self._began), 3)  # in milliseconds: errors quote it

    def _skip(self, choice: Choice, reason: str) -> None:
        attempt = Attempt(choice.target.name, SKIPPED, reason)
        span = chat_span(self._span, self._job, choice)
        span.set(attributes_of(attempt))
        span.end()
        self._all.append(attempt)

    # --- one target, or two beside each other --------------------------------------------------------

    async def _listen(self, one: Try) -> Try:
        """The try that answered, or spoke before it was lost; where all have failed, one of those."""
        after_s = one.choice.hedge_s if self._route.hedges.share else None
        if after_s is None or not self._may_go_on(self._clock()):
            await self._hear(one)
            return one
        one = await Race(self._hedge, self._failed, self._hear).run(one, after_s)
        if one.hedge and one.spoke:
            self._metrics.hedge_won()
        for other in self._tries:
            if other.outcome == OUTRUN:
                self._way.outrun(other.choice)
        return one

    async def _hear(self, one: Try, begun: Frame | None = None) -> None:
        """To its end, in the turn's own task, after the frame that came already, if one did. Its connection is closed
        before control returns.
        """
        take: Callable[[Frame], None] = one.take_spoken if one.drops else one.take
        if self._checked is not None:
            take = self._checked.listen(one, take)
        try:
            async with aclosing(one.frames) as frames:
                if begun is not None:
                    take(begun)
                async for frame in frames:
                    take(frame)
        except ServiceError as error:
            self._failed(one, error)
        else:
            one.answer()

    def _failed(self, one: Try, error: ServiceError) -> None:
        """Only a target that is to blame may be waited for: the next time the others would say the same. A repair that
        runs out of time has had what the turn had left for it.
        """
        is_late_repair = one.reason == TOOL_REPAIR and isinstance(error, UpstreamTimeout)
        counts = verdict_of(error).counts and not is_late_repair
        one.fail(error, counts=counts)
        self._way.failed(one.choice, self._clock(), error.retry_after_s if counts else None)

    def _hedge(self) -> Try | None:
        now = self._clock()
        if not (self._budget_s(now) > 0 and self._route.hedges.has() and self._may_go_on(now)):
            return None
        choice = self._way.next(now)
        if choice is None or not self._route.retries.draw(now):
            return None
        self._route.hedges.draw()
        self._metrics.hedge_started()
        return self._try(choice, hedge=True)

    # --- after the caller has heard something --------------------------------------------------------

    async def _continue(self, one: Try) -> Finished | Failed:
        """Go on with an answer that was lost: at the next target, or once more at its own where there is none.

        Raises:
            ServiceError: it cannot be gone on with, or is lost again.
        """
        lost = one
        for _ in range(CONTINUATIONS):
            job = self._rest(one)
            choice = self._continuing(lost) if job is not None else None
            if job is None or choice is None or not self._may_ask(choice):
                break
            one = self._try(choice, job=job, reason=CONTINUES)
            await self._hear(one)
            if one.error is None and one.last is not None:
                return await self._ended(one, one.last)
        raise most_telling([error for error in (lost.error, one.error) if error is not None])

    def _continuing(self, lost: Try) -> Choice | None:
        choice = self._way.next(self._clock())
        if choice is not None:
            return choice
        again = any(one.choice is lost.choice and one.reason == CONTINUES for one in self._tries)
        return None if again else lost.choice

    def _rest(self, one: Try) -> Job | None:
        """The job that brings the rest of the answer; None: there can be none."""
        job, delivery = self._job, self._delivery
        is_text = job.response_format is None or job.response_format.kind == "text"
        allowed = job.on_lost == "continue" and one.error is not None and verdict_of(one.error).next
        left_s = self._total_s(self._clock())
        if not (allowed and is_text and delivery.state is Claim.SPEAKING and delivery.keeps_all and left_s > 0):
            return None
        frames = delivery.since(0)
        if any(isinstance(frame, Refusal) for frame in frames):
            return None
        said = job.said + "".join(frame.text for frame in frames if isinstance(frame, Text))
        return replace(job, said=said, total_ms=int(left_s * 1000))

    # --- after a tool call that may not go out -------------------------------------------------------

    async def _ended(self, one: Try, last: Finished | Failed) -> Finished | Failed:
        """The last frame of an answer. Where it was to be a tool call that may not go out, the target is asked once
        more, and told why; if it then has nothing to say, the first answer stands, without the call.

        Raises:
            ServiceError: the second answer is lost after the caller has heard something of it.
        """
        checked = self._checked
        if checked is None or (job := checked.repair()) is None or not self._may_repair(one.choice):
            return last
        again = self._try(one.choice, job=job, reason=TOOL_REPAIR, limit_s=checked.begin_repair())
        await self._hear(again)
        second = again.last
        if again.error is not None and again.spoke:
            second = await self._continue(again)
        checked.repaired(is_heard=again.spoke)
        if second is None or not again.spoke:
            return last
        return replace(second, leaked=last.leaked + second.leaked)

    def _may_repair(self, choice: Choice) -> bool:
        now = self._clock()
        is_spoken = self._delivery.state is Claim.SPEAKING
        left_s = self._total_s(now) if is_spoken else self._budget_s(now)
        return left_s > 0 and self._may_ask(choice)

    # --- the last frame ------------------------------------------------------------------------------

    @property
    def _errors(self) -> list[ServiceError]:
        return [one.error for one in self._tries if one.error is not None]

    async def _close(self, last: Finished | Failed, error: ServiceError | None = None) -> None:
        """Send the last frame, with the bill."""
        for one in self._tries:
            if not one.ended and error is not None:  # it ran when the turn was stopped
                one.fail(error)
        attempts = tuple([await one.bill() if isinstance(one, Try) else one for one in self._all])
        told: dict[str, Any] = {"usage": self._usage(), "timings": self._timings(), "target": self._target(last)}
        if self._checked is not None and not (isinstance(last, Failed) and last.retryable):  # else it is done anew
            told["withheld"] = self._checked.withheld
        last = replace(last, attempts=attempts, **told)
        self._delivery.emit(last)
        for attempt in attempts:
            self._metrics.attempted(attempt)
        self._metrics.generated(last)

    def _answering(self) -> list[Try]:
        """Whom the answer is from; where there is none, who was asked last; where none was, who could not be."""
        asked = [one for one in self._tries if one.outcome != SKIPPED] or self._tries
        return [one for one in asked if one.spoke] or asked[-1:]

    def _usage(self) -> Usage:
        """Of the answer: its prompt, and all that was said of it. What else was spent is in the attempts."""
        usages = [one.usage for one in self._answering()]
        if len(usages) < 2:
            return usages[0] if usages else Usage()
        return Usage(
            prompt=usages[0].prompt,
            completion=sum(usage.completion for usage in usages),
            cached=usages[0].cached,
            reasoning=sum(usage.reasoning for usage in usages),
            estimated=any(usage.estimated for usage in usages),
        )

    def _timings(self) -> Timings:
        """From the first request on: what targets took, whichever of them answered, is no overhead of ours."""
        first = next((one for one in self._tries if one.spoke), None)
        start = self._tries[0].began if self._tries else self._began
        content_ms = None if first is None else (first.began - start) * 1000 + (first.first_content_ms or 0.0)
        return Timings(first_content_ms=content_ms, total_ms=(self._clock() - start) * 1000)

    def _target(self, last: Finished | Failed) -> str:
        return last.target or (self._answering()[-1].choice.target.name if self._tries else "")
