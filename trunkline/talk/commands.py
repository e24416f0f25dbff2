"""What begins with a slash."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from trunkline import traces
from trunkline.talk import tools
from trunkline.talk.conversation import Conversation, Leave
from trunkline.talk.failure import Failure
from trunkline.talk.figures import SEPARATOR, trace_of

SPANS_S, SPANS_POLL_S = 8.0, 0.1  # processes write their spans every 5 s
NONE = "-"  # as an argument: away with it


class Place(Struct, frozen=True):
    """Where spans are: in a file of this machine, else at a collector. None: nobody here knows."""

    file: Path | None = None
    collector: str | None = None


class Command(Struct, frozen=True):
    """One of them; `usage` and `meaning` are its line in /help."""

    usage: str
    meaning: str
    run: Callable[[Conversation, str], Awaitable[None]]


class Commands:
    """All of them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._all = {
            "/model": Command("/model [NAME]", "who answers; without a name: who could", self._model),
            "/system": Command("/system [TEXT]", "what the model is told first; - for nothing", self._system),
            "/tools": Command("/tools [on|off|FILE]", "offer example tools, none, or a JSON file's", self._tools),
            "/retry": Command("/retry", "ask the last turn again, without its answer", self._retry),
            "/trace": Command("/trace", "where the last turn's time went", self._trace),
            "/help": Command("/help", "this", self._help),
            "/quit": Command("/quit", "leave, as Ctrl-D does", self._quit),
        }

    @property
    def names(self) -> list[str]:
        """What may be typed."""
        return list(self._all)

    async def obey(self, talk: Conversation, text: str) -> None:
        """Run one. What goes wrong is a sentence; the talk goes on."""
        name, _, argument = text.partition(" ")
        command = self._all.get(name)
        if command is None:
            talk.show.trouble(f"there is no command {name[:40]}; there are {', '.join(self._all)}")
            return
        try:
            await command.run(talk, argument.strip())
        except Failure as failure:
            talk.show.trouble(str(failure))

    async def _model(self, talk: Conversation, name: str) -> None:
        known = await talk.client.models()
        if not name:
            talk.show.rows((one, "answers now" if one == talk.model else "") for one in dict.fromkeys(known))
            if talk.model not in known:
                talk.show.note(f"{talk.model} answers now; it is not in the list")
        elif name in known or "/" in name:  # names with a slash are passed through to an upstream that knows them
            talk.model = name
            talk.show.note(f"{name} answers from now on")
        else:
            raise Failure(f"there is no model {name!r}; there are {', '.join(known) or 'none'}")

    async def _system(self, talk: Conversation, text: str) -> None:
        if text:
            talk.history.system = None if text == NONE else text
        said = talk.history.system
        talk.show.note(f"the model is told first: {said}" if said else "the model is told nothing first")

    async def _tools(self, talk: Conversation, what: str) -> None:
        if what in ("off", NONE):
            talk.tools = tools.Tools()
        elif what:
            talk.tools = tools.examples() if what == "on" else tools.load(what)
        names = ", ".join(talk.tools.names)
        said = f"{names}; you type what they return" if names else "none; /tools on offers examples, /tools FILE yours"
        talk.show.note(f"tools on offer: {said}")

    async def _retry(self, talk: Conversation, _: str) -> None:
        if not talk.history.take_back():
            raise Failure("nothing was asked yet; say something first")
        await talk.answer()

    async def _help(self, talk: Conversation, _: str) -> None:
        talk.show.rows((command.usage, command.meaning) for command in self._all.values())
        talk.show.note("Enter or Ctrl-C while an answer comes interrupts it; what you typed before Enter is said next")

    async def _quit(self, talk: Conversation, _: str) -> None:
        raise Leave

    async def _trace(self, talk: Conversation, _: str) -> None:
        if talk.last is None:
            raise Failure("there was no turn yet; say something first")
        trace = trace_of(talk.last.turn, talk.last.record)
        if trace is None:
            raise Failure("the last turn has no trace: it never reached the line, or was given up before a byte came")
        if self._place.collector:
            talk.show.note(f"trace {trace}", f"spans go to {self._place.collector}; search for the trace there")
        elif self._place.file is None or not self._place.file.exists():
            talk.show.note(f"trace {trace}", "this machine has no file of spans; search where that line sends its own")
        else:
            await _draw(talk, self._place.file, trace)


async def _draw(talk: Conversation, file: Path, trace: str) -> None:
    """Wait until the spans are written, and draw them; Enter ends the waiting."""
    enough = asyncio.Event()
    with talk.keyboard.interrupting(enough):
        spans = await asyncio.to_thread(_read, file, trace)
        if not traces.is_whole(spans):
            talk.show.note("the spans are written every few seconds; Enter shows what is there")
            spans = await _until_whole(file, trace, enough)
    talk.show.note(f"trace {trace}")
    if not spans:
        talk.show.note(f"{file} has no span of it; where a collector is set for the line, search there")
        return
    talk.show.drawing(traces.draw(spans, width=talk.show.width, ascii_only=talk.show.ascii_only))
    talk.show.note(SEPARATOR.join(traces.summary(spans)))


async def _until_whole(file: Path, trace: str, enough: asyncio.Event) -> list[traces.Span]:
    loop = asyncio.get_running_loop()
    until = loop.time() + SPANS_S
    while True:
        spans = await asyncio.to_thread(_read, file, trace)
        if traces.is_whole(spans) or enough.is_set() or loop.time() > until:
            return spans
        await asyncio.sleep(SPANS_POLL_S)


def _read(file: Path, trace: str) -> list[traces.Span]:
    try:
        return traces.read(file, trace)
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}") from None
