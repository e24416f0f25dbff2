"""What a turn must look like from outside: pure judgements over what client, upstream and bus recorded.

Each returns the sentences that are wrong, none if nothing is. Speed is judged nowhere in here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.client import Answer, End
from bench.orders import Generation
from bench.response_call import ResponseCall

Violations = list[str]
REFUSALS = {"overloaded", "no_worker"}


def complete(answer: Answer, generations: Sequence[Generation]) -> Violations:
    """The caller has the whole of what one generation said, and a proper end."""
    wrong = []
    if answer.status != 200:
        wrong.append(f"status {answer.status}, not 200: {answer.error}")
    if answer.error:
        wrong.append(f"an error in the stream: {answer.error}")
    if answer.finish_reason not in {"stop", "tool_calls"}:
        wrong.append(f"finish_reason {answer.finish_reason}")
    if answer.end is not End.COMPLETE:
        wrong.append(f"the body ended: {answer.end.value}")
    if _streamed(answer) and not answer.done:
        wrong.append("no [DONE]")
    if not any(_whole(answer, one) for one in generations):
        wrong.append(f"not the whole of one generation: {_shown(answer)}")
    return wrong + nothing_twice(answer)


def explicit(answer: Answer, generations: Sequence[Generation]) -> Violations:
    """The answer is complete, or it ended with an error that says so; what was said is of one generation."""
    failed = answer.error is not None
    if not failed:
        return complete(answer, generations)
    wrong = []
    if answer.end is not End.COMPLETE:
        wrong.append(f"after the error the body ended: {answer.end.value}")
    if answer.done:
        wrong.append("an error, and [DONE] after it")
    if answer.finish_reason:
        wrong.append(f"an error, and finish_reason {answer.finish_reason}")
    return wrong + prefix(answer, generations) + nothing_twice(answer)


def moved_or_explicit(answer: Answer, generations: Sequence[Generation]) -> Violations:
    """A lost worker costs the answer only if the caller had already heard something."""
    wrong = explicit(answer, generations)
    if answer.error and not answer.audible:
        wrong.append(f"failed before anything was heard: status {answer.status}, {answer.error}")
    return wrong


def whole_response(call: ResponseCall, generations: Sequence[Generation]) -> Violations:
    """The same of a response: it has completed, and its output is what was heard."""
    answer = call.answer
    wrong = []
    if answer.status != 200 or not call.completed:
        wrong.append(f"status {answer.status}, response {(call.response or {}).get('status')}: {answer.error}")
    if call.response and call.output_text != answer.text:
        wrong.append(f"its output is not what was heard: {_shown(answer)}")
    if not any(_whole(answer, one) for one in generations):
        wrong.append(f"not the whole of one generation: {_shown(answer)}")
    return wrong + _ended_once(call) + nothing_twice(answer)


def explicit_response(call: ResponseCall, generations: Sequence[Generation]) -> Violations:
    """A response is complete, or it ended with an error that says so; what was said is of one generation."""
    answer = call.answer
    if call.completed:
        return whole_response(call, generations)
    wrong = [] if answer.error else ["neither completed nor an error"]
    return wrong + _ended_once(call) + prefix(answer, generations) + nothing_twice(answer)


def went_on(call: ResponseCall, words: int) -> Violations:
    """The model was given the whole of the conversation: so many words."""
    if call.input_tokens == words:
        return []
    return [f"the model was given {call.input_tokens} words, not the {words} of the conversation"]


def _ended_once(call: ResponseCall) -> Violations:
    """One end in good order; a refusal has none but its status."""
    answer = call.answer
    wrong = [] if answer.end is End.COMPLETE else [f"the body ended: {answer.end.value}"]
    if _streamed(answer) and not answer.done:
        wrong.append("no [DONE]")
    if call.ends != (answer.status == 200):
        wrong.append(f"{call.ends} ends, status {answer.status}")
    if call.out_of_order:
        wrong.append(f"{call.out_of_order} events out of order")
    return wrong


def prefix(answer: Answer, generations: Sequence[Generation]) -> Violations:
    """What was said is the beginning of what one generation said."""
    if any(one.text.startswith(answer.text) for one in generations) or not answer.text:
        return []
    return [f"the text is not the beginning of one generation: {_shown(answer)}"]


def nothing_twice(answer: Answer) -> Violations:
    """No word came twice, no line was nonsense, usage came once at most."""
    twice = [word for word, count in Counter(answer.text.split()).items() if count > 1]
    wrong = [f"said twice: {twice[:5]}"] if twice else []
    if answer.malformed:
        wrong.append(f"{answer.malformed} data lines are no JSON")
    if len(answer.usages) > 1:
        wrong.append(f"usage {len(answer.usages)} times")
    return wrong


def refused(answer: Answer) -> Violations:
    """Turned away before anything began: 503, the reason, and when to come back."""
    wrong = []
    code = (answer.error or {}).get("code")
    if answer.status != 503 or code not in REFUSALS:
        wrong.append(f"status {answer.status}, code {code}; not a 503 that refuses")
    if "retry-after" not in answer.headers:
        wrong.append("no Retry-After")
    if code == "overloaded" and answer.headers.get("x-should-retry") != "false":
        wrong.append(f"x-should-retry: {answer.headers.get('x-should-retry')}")
    return wrong


def hung_up(answer: Answer, generations: Sequence[Generation]) -> Violations:
    """After the caller left, every generation of the turn was closed; at most one had been begun."""
    wrong = prefix(answer, generations) + nothing_twice(answer)
    if len(generations) > 1:
        wrong.append(f"{len(generations)} generations for one turn that nothing happened to")
    return wrong + abandoned(generations)


def abandoned(generations: Iterable[Generation]) -> Violations:
    """Nobody listens: every generation was closed from the other side before its end."""
    return [f"generation {_named(one)} was never closed" for one in generations if one.closed is None]


def never_called(generations: Sequence[Generation]) -> Violations:
    """The upstream has not heard of the turn."""
    return [f"the upstream was called: {_named(one)}" for one in generations]


def at_rest(generations: Iterable[Generation]) -> Violations:
    """Every generation came to its end or was closed."""
    return [f"generation {_named(one)} still speaks" for one in generations if one.open]


def one_record_each(traces: Iterable[str], records: Mapping[str, int]) -> Violations:
    """Every turn has exactly one record."""
    counts = {trace: records.get(trace, 0) for trace in traces}
    return [f"turn {trace} has {count} records" for trace, count in counts.items() if count != 1]


def nothing_waits(waiting: Mapping[str, int]) -> Violations:
    """The job streams exist and are empty."""
    if not waiting:
        return ["no job stream found"]
    return [f"{stream} still holds {count} jobs" for stream, count in waiting.items() if count]


def slots_free(said: Iterable[Mapping[str, int]], slots: int) -> Violations:
    """Every worker answers, and has all of its slots free."""
    return [f"a worker says {pool}, and has {slots} slots" for pool in said if pool.get("slots_free") != slots]


def _whole(answer: Answer, one: Generation) -> bool:
    called = [call["arguments"] for call in answer.tool_calls]
    return answer.text == one.text and called == one.arguments and one.finished is not None


def _streamed(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").startswith("text/event-stream")


def _shown(answer: Answer) -> str:
    """Enough of a text to see what went wrong."""
    text = answer.text
    return repr(text) if len(text) <= 80 else f"{text[:40]!r} … {text[-40:]!r}"


def _named(one: Generation) -> str:
    return f"{one.tag}/{one.number} ({one.sent} sent)"
