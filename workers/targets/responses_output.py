"""The output of a response -> frames. Pure.

The API tells it several times over: run by run in pieces and then whole, item by item, and all of it once more at the
end. Whatever comes first is said, and nothing is said twice.

A thought may have several runs, which become paragraphs of one. Its frames have its id; what the upstream has sealed of
it comes last, in a frame of its own without text. After a call there are no thoughts any more.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.messages import Frame, Reasoning, ToolCall
from workers.targets.logprobs import logprobs_of
from workers.targets.responses_events import Event, entries, index_of, text
from workers.targets.seals import Seals
from workers.targets.spoken import Spoken
from workers.targets.tool_calls import CallCollector, Fragment
from workers.targets.upstream_errors import Fault

Place = int | str | None

TEXT, REFUSAL, SUMMARY, REASONING = "text", "refusal", "summary", "reasoning"
PARTS = {"output_text": TEXT, "refusal": REFUSAL, "summary_text": SUMMARY, "reasoning_text": REASONING}
"""The type of an item's part -> the kind of run."""

MAX_RUNS = 10_000  # an answer has a handful
BETWEEN_PARTS = "\n\n"  # of a thought: each begins with a headline


class Output:
    """Feed it what events say of the output, take frames. What is said goes through `spoken`, calls through `calls`.
    `seals` mark what is sealed; None: it is left out.
    """

    def __init__(self, *, spoken: Spoken, calls: CallCollector, seals: Seals | None = None) -> None:
        self._spoken = spoken
        self._calls = calls
        self._seals = seals
        self._told = _Told()
        self._thoughts: dict[Place, _Thought] = {}
        self._sealed: set[str] = set()  # what was handed out
        self._calls_at: dict[str, int] = {}  # by the id of their item: the index told, or a negative one of our own
        self._last: tuple[Place, int | None] | None = None  # of text

    def goes_on(self, event: Event) -> bool:
        """Whether a text is of the same run as the one before."""
        return (_place(event.output_index, event.item_id), index_of(event.content_index)) == self._last

    def piece(self, kind: str, event: Event, *, is_whole: bool) -> Iterator[Frame]:
        """A run of text goes on, or is told once more as a whole."""
        said = text(event.delta if not is_whole else event.refusal if kind == REFUSAL else event.text)
        if not said:
            return
        index = event.summary_index if kind == SUMMARY else event.content_index
        run = _place(event.output_index, event.item_id), index_of(index)
        if kind == TEXT:
            self._last = run
        if self._told.add(kind, *run) or not is_whole:
            yield from self._say(kind, said, event.logprobs, *run, text(event.item_id))

    def begin(self, index: int | None, item: dict[str, Any]) -> Iterator[Frame]:
        """An item begins: only that of a call says more than that."""
        if item.get("type") == "function_call":
            if id_ := text(item.get("id")):
                known = self._calls_at.get(id_, -1 - len(self._calls_at))
                index = self._calls_at[id_] = known if index is None else index
            yield from self._call(self._calls.add(Fragment(index, _call_id(item), text(item.get("name")))))

    def item(self, index: int | None, item: dict[str, Any]) -> Iterator[Frame]:
        """An item is whole."""
        at = _place(index, item.get("id"))
        match item.get("type"):
            case "message":
                yield from self._parts(at, item.get("content"))
            case "reasoning":
                yield from self._parts(at, item.get("summary"), text(item.get("id")))
                yield from self._parts(at, item.get("content"), text(item.get("id")))
                yield from self._seal(at, item)
            case "function_call":
                yield from self._whole_call(index, item)

    def arguments(self, event: Event, *, is_whole: bool) -> Iterator[Frame]:
        """A call's arguments go on, or are told once more as a whole."""
        index = index_of(event.output_index)
        if index is None:
            index = self._calls_at.get(text(event.item_id))
        if not is_whole:
            yield from self._call(self._calls.add(Fragment(index, arguments=text(event.delta))))
        elif index is not None:  # else nobody knows whose they are, until the item says so
            yield from self._call(self._calls.again(Fragment(index, arguments=text(event.arguments))))

    def rest(self, output: Any, *, cut: bool = False) -> Iterator[Frame]:
        """The whole output, at the end: what no event before has told. Its indices need not be those of the events, so
        that it counts only for what is missing altogether. `cut`: a limit ended the answer.
        """
        is_silent, has_calls = not self._spoken.audible, self._calls.begun > 0
        for index, item in enumerate(entries(output)):
            is_call = item.get("type") == "function_call"
            if not has_calls and (is_call or is_silent):
                yield from self.item(index, item)
        yield from self._call(self._calls.end(cut=cut))

    def _parts(self, at: Place, parts: Any, id_: str = "") -> Iterator[Frame]:
        for index, part in enumerate(entries(parts)):
            kind = PARTS.get(text(part.get("type")))
            if kind is not None and self._told.add(kind, at, index):
                said = part.get("refusal" if kind == REFUSAL else "text")
                yield from self._say(kind, text(said), part.get("logprobs"), at, index, id_)

    def _say(self, kind: str, said: str, logprobs: Any, at: Place, index: int | None, id_: str) -> Iterator[Frame]:
        if not said or self._calls.sent:  # once a call is out, nothing more is spoken
            return
        if kind == TEXT:
            self._spoken.likely(logprobs_of(logprobs))
            yield from self._spoken.content(said)
        elif kind == REFUSAL:
            yield from self._spoken.refusal(said)
        else:
            thought = self._thought(at, id_)
            follows = thought.goes_on(kind, index)
            yield from self._spoken.thought(BETWEEN_PARTS + said if follows else said, id_=thought.id)

    def _thought(self, at: Place, id_: str) -> "_Thought":
        """The one at that place. Its first id stays, whatever other events call it."""
        thought = self._thoughts.get(at)
        if thought is None:
            thought = self._thoughts[at] = _Thought(id_ or None)
        return thought

    def _seal(self, at: Place, item: dict[str, Any]) -> Iterator[Frame]:
        """What only the upstream can read of a thought, to be shown to it again. It is whole when the item is."""
        content, id_ = text(item.get("encrypted_content")), text(item.get("id"))
        if not content or content in self._sealed or self._seals is None or self._calls.sent:
            return
        self._sealed.add(content)
        if (marked := self._seals.marked(content, id_)) is not None:
            yield Reasoning("", self._thought(at, id_).id, marked)

    def _whole_call(self, index: int | None, item: dict[str, Any]) -> Iterator[Frame]:
        arguments = item.get("arguments") or ""
        if not isinstance(arguments, str):  # an object where the wire has text: its meaning is plain
            arguments = msgspec.json.encode(arguments).decode()
        fragment = Fragment(index, _call_id(item), text(item.get("name")), arguments)
        if item.get("status") == "incomplete":  # its pieces show that at the end, when the bill is known
            yield from self._call(self._calls.again(fragment))
        else:
            yield from self._call(self._calls.whole(fragment))

    def _call(self, calls: list[ToolCall]) -> Iterator[Frame]:
        if calls:
            yield from self._spoken.release()
            self._spoken.audible = True
        yield from calls


class _Thought:
    """One item of reasoning."""

    def __init__(self, id_: str | None) -> None:
        self.id = id_
        self._run: tuple[str, int] | None = None  # the latest one

    def goes_on(self, kind: str, index: int | None) -> bool:
        """Whether this run follows another one of it."""
        before, self._run = self._run, (kind, index or 0)
        return before is not None and before != self._run


class _Told:
    """Which runs have been told. One whose item has no index and no id may be any of its kind."""

    def __init__(self) -> None:
        self._runs: set[tuple[str, Place, int]] = set()
        self._kinds: set[str] = set()
        self._unplaced: set[str] = set()  # kinds

    def add(self, kind: str, at: Place, index: int | None) -> bool:
        """Whether it is a new one. Raises Fault: there are too many."""
        run = kind, at, index or 0
        is_new = kind not in self._kinds if at is None else not (run in self._runs or kind in self._unplaced)
        self._runs.add(run)
        if len(self._runs) > MAX_RUNS:
            raise Fault("too_many_items", f"more than {MAX_RUNS} pieces of output")
        self._kinds.add(kind)
        if at is None:
            self._unplaced.add(kind)
        return is_new


def _place(index: Any, id_: Any) -> Place:
    """Where an item stands: by its index, else by its id. GitHub Copilot has another id in each event, llama.cpp no
    index.
    """
    return index if isinstance(index, int) else text(id_) or None


def _call_id(item: dict[str, Any]) -> str | None:
    """Not the item's own id, unless there is no other."""
    return text(item.get("call_id")) or text(item.get("id")) or None
