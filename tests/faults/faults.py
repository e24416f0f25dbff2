"""Every fault, and what a caller must hear of it: where it is the only target of a model, and where there is a next."""

import functools
from typing import Any, Literal

from msgspec import Struct

from tests.faults import acts, junk
from tests.faults.upstream import Act
from tests.faults.voices import VOICES, WORDS

Kind = Literal["quick", "silent", "heavy"]
"""Over at once; waits for a timer; costs the line so much that nothing else may run beside it."""

WELL = "well"
NOWHERE, BLACK_HOLE = "nowhere", "black-hole"
"""Nobody listens; nobody takes the connection. Neither is an act: there is no one to act."""

SLOWLY = "upstream_timeout"
MARKED = ("chat-completions", "messages")  # the APIs whose end mark is no event of the answer's own


class Heard(Struct, frozen=True):
    """What a caller gets. Without `code` it is an answer; with it and status 200 the error comes in the stream."""

    text: str = ""
    finish: str | None = None
    status: int = 200
    code: str | None = None
    retry_after: str | None = None
    calls: tuple[str, ...] = ()  # arguments of tool calls


def words(count: int) -> str:
    return "".join(WORDS[:count])


WHOLE = Heard(words(4), "stop")
FAILED = Heard(status=502, code="upstream_error")
SLOW = Heard(status=504, code=SLOWLY)
LIMITED = Heard(status=429, code="rate_limit_exceeded", retry_after="1")
REFUSED = Heard(status=400)
CALLED = Heard(finish="tool_calls", calls=('{"text":"hi"}',))


def broken_off(count: int, code: str = "upstream_error") -> Heard:
    """So many words, then an error in the stream."""
    return Heard(words(count), code=code)


class Fault(Struct, frozen=True, kw_only=True):
    """What the first target does. `alone`: what is heard of it where it is the only one; `then`: where a next is."""

    title: str
    alone: Heard
    then: Heard = WHOLE
    goes_on: Heard | None = None  # under `on_lost = "continue"`, where that is told apart
    act: Act | None = None  # None: nobody is there
    asked: int = 1  # of the first target, alone
    asks_next: bool | None = None  # None: if `then` differs from `alone`
    kind: Kind = "quick"
    voices: tuple[str, ...] = tuple(voice.name for voice in VOICES)
    tools: bool = False  # the caller offers one
    settings: str = ""  # of the first target, beside those of all
    told: int | None = None  # the tokens of its answer, where it says what it cost and is believed


def _after(count: int, title: str, act: Act, code: str = "upstream_error", kind: Kind = "quick", **more: Any) -> Fault:
    """A fault in the middle: what was said was said."""
    said = broken_off(count, code)
    return Fault(title=title, act=act, alone=said, then=said, goes_on=WHOLE, kind=kind, **more)


def _before(title: str, act: Act | None, alone: Heard = FAILED, kind: Kind = "quick", **more: Any) -> Fault:
    """A fault before the first word: the next target answers."""
    return Fault(title=title, act=act, alone=alone, kind=kind, **more)


def _soon(status: int) -> Fault:
    """A refusal for a second: waited for where there is nobody else."""
    act = acts.refuses_once(status, Retry_After="1")
    title = f"{status}, `Retry-After: 1`, then well"
    return Fault(title=title, act=act, alone=WHOLE, asked=2, asks_next=True, kind="silent")


def _odd(title: str, act: Act, text: str = words(4), **more: Any) -> Fault:
    """What looks odd and is an answer: nobody else is asked."""
    said = Heard(text, "stop")
    return Fault(title=title, act=act, alone=said, then=said, told=len(WORDS), **more)


def _called(title: str, index: int = 0) -> Fault:
    """A tool call that is one."""
    act = junk.calls(CALLED.calls[0], index=index)
    return Fault(title=title, act=act, alone=CALLED, then=CALLED, tools=True, told=junk.CALL_TOKENS)


REFUSALS: dict[str, Fault] = {
    "429": _before("429", acts.refuses(429), LIMITED),
    "429-later": _before(
        "429, `Retry-After: 60`",
        acts.refuses(429, Retry_After="60"),
        Heard(status=429, code="rate_limit_exceeded", retry_after="60"),
    ),
    "429-soon": _soon(429),
    "500": _before("500", acts.refuses(500)),
    "503": _before("503", acts.refuses(503)),
    "503-soon": _soon(503),
    "529": _before("529", acts.refuses(529)),
    "408": _before("408", acts.refuses(408), SLOW),
    "409": _before("409", acts.refuses(409)),
    "425": _before("425", acts.refuses(425)),
    "401": _before("401", acts.refuses(401)),
    "403": _before("403", acts.refuses(403)),
    "404": _before("404", acts.refuses(404)),
    "400": _before("400", acts.refuses(400), REFUSED, then=REFUSED),
    "400-context": _before(
        "400, the history is too long", acts.refuses(400, "context"), Heard(status=400, code="context_length_exceeded")
    ),
    "400-filter": _before(
        "400, a content filter", acts.refuses(400, "filter"), Heard(status=400, code="content_filter")
    ),
    "redirect": _before("a redirect", acts.redirect),
    "error-body": _before("an error object as the body of a 200", acts.error_body),
}

SILENCES: dict[str, Fault] = {
    NOWHERE: _before("nobody listens", None),
    BLACK_HOLE: _before("a connection that is never taken", None, SLOW, "silent"),
    "cut": _before("it closes before its headers", acts.cut),
    "reset": _before("it resets before its headers", acts.reset),
    "half-close": _before("it closes its half before its headers", acts.half_close),
    "silence": _before("it takes the request and says nothing", acts.silence, SLOW, "silent"),
    "headers": _before("headers, and nothing more", acts.only_headers, SLOW, "silent"),
    "opening": _before(
        "its opening events, and nothing more", functools.partial(acts.at_once, acts.silence), SLOW, "silent"
    ),
    "alive": _before("signs of life without end", functools.partial(acts.at_once, acts.alive_for_ever), SLOW, "silent"),
    "thinks": _before(
        "thoughts without end",
        functools.partial(acts.at_once, acts.thinks_for_ever),
        broken_off(0, SLOWLY),  # a thought opens the stream
        "silent",
    ),
    "late": _before("its first word after 20 s", acts.late, SLOW, "silent"),
    "dripping": _before("headers without end, a byte now and then", junk.dripping_head, SLOW, "silent"),
}

ENDINGS: dict[str, Fault] = {
    "cut-0": _before("cut after its opening events", functools.partial(acts.cut_after, 0)),
    **{f"cut-{k}": _after(k, f"cut after {k} of 4 words", functools.partial(acts.cut_after, k)) for k in range(1, 5)},
    "reset-2": _after(2, "reset after 2 words", functools.partial(acts.then, acts.reset)),
    "half-close-2": _after(2, "half closed after 2 words", functools.partial(acts.then, acts.half_close)),
    "stall": _after(2, "stalls after 2 words", functools.partial(acts.then, acts.silence), SLOWLY, "silent"),
    "alive-2": _after(
        2,
        "2 words, then signs of life without end",
        functools.partial(acts.then, acts.alive_for_ever),
        SLOWLY,
        "silent",
    ),
    "no-reason": _after(2, "no finish reason", functools.partial(acts.then, acts.ends)),
    "only-last": _after(
        2, "its end mark, and no finish reason", functools.partial(acts.then, acts.says_last), voices=MARKED
    ),
    "error-2": _after(2, "an error after 2 words", functools.partial(acts.then, acts.errs)),
    "error-0": _before("an error before the first word, in the stream", functools.partial(acts.at_once, acts.errs)),
    "empty": _before("an empty answer", functools.partial(acts.at_once, acts.is_empty), asked=2, told=0),
    "nothing": _before("a stream without an event", junk.begins(b"0\r\n\r\n")),
    "filter-2": Fault(
        title="a content filter after 2 words",
        act=functools.partial(acts.then, acts.filters),
        alone=Heard(words(2), "content_filter"),
        then=Heard(words(2), "content_filter"),
        told=2,
    ),
    "no-last": _odd("no end mark", acts.no_last, voices=MARKED),
    "cut-late": _odd("cut after its finish reason", acts.cut_after_reason),
    "two-reasons": _odd("a second finish reason", acts.two_reasons),
    "more": _odd("data after its end mark", acts.more_after_last),
}

BYTES: dict[str, Fault] = {
    "malformed": _odd("a malformed line in the middle", junk.malformed),
    "nonsense": _before("malformed lines, and nothing else", junk.nonsense),
    "no-http": _before("no HTTP", junk.no_http),
    "big-line": _before("a line of 10 MB", junk.big_line, kind="heavy"),
    "flood": _odd("100,000 chunks a second", junk.flood, junk.FLOOD_WORD * junk.FLOOD_CHUNKS, kind="heavy"),
    "endless": Fault(
        title="words without end",
        act=acts.speaks_for_ever,
        alone=broken_off(4, "upstream_timeout"),
        then=broken_off(4, "upstream_timeout"),
        kind="silent",
        settings="total_s = 1.5",
    ),
    "bad-utf8": _odd("bytes that are no UTF-8", junk.one_word(b" \xff\xfe"), "one two \ufffd\ufffd four"),
    "lone-half": _odd("half a surrogate pair", junk.one_word(rb"\ud83d"), "one two four"),
    "split-pair": _odd("a surrogate pair over two events", junk.split_pair, "one two"),
    "bomb": _before("a gzip bomb", junk.bomb, kind="heavy"),
    "long-head": _before("headers without end", junk.endless_head, kind="heavy"),
    "chunk-large": _before("a chunk larger than the body", junk.chunk_of(b"ffffff")),
    "chunk-small": _before("a chunk smaller than its data", junk.chunk_of(b"3")),
    "chunk-huge": _before("a chunk size of 20 digits", junk.chunk_of(b"ffffffffffffffffffff")),
    "chunk-word": _before("a chunk size that is no number", junk.chunk_of(b"zz")),
    "tool": _called("a tool call"),
    "tool-list": _before("tool arguments that are no object", junk.calls('["hi"]'), tools=True),
    "tool-index": _called("a tool call at index -1", index=-1),
}

GROUPS: dict[str, dict[str, Fault]] = {
    "It refuses": REFUSALS,
    "It is not there, or says nothing": SILENCES,
    "It ends oddly": ENDINGS,
    "It sends what nobody should": BYTES,
}
FAULTS: dict[str, Fault] = {name: fault for group in GROUPS.values() for name, fault in group.items()}
ACTS: dict[str, Act] = {WELL: acts.well, **{name: fault.act for name, fault in FAULTS.items() if fault.act}}
