"""Whatever is lost, doubled, delayed or reordered between the halves of the bus, and whichever process dies.

For every turn: the caller hears a prefix of, or all of, what one claim said (under `continue`: of a chain of claims,
each going on from what was heard); nothing twice; every stream ends openly. Afterwards nothing is left: no slot taken,
no job queued, no line open, no upstream connection; and the next turn works.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from edge.responses import response_id_of
from protocol.errors import UpstreamError
from protocol.messages import Finished, Job, OnLost, Text, ToolCall, Usage
from protocol.settings_profiles import Profile
from tests.flow.client import Client, ResponseClient
from tests.flow.fates import LOST, Fates
from tests.flow.line import Line
from tests.flow.processes import EdgeProcess, Process
from tests.flow.target import Saying, Script, Step

CORE = ("batch", "ack", "cancel", "ask", "answer", "here", "echo", "no responders")
QUEUE = ("delivery", "pub_ack", "offer", "pull", "purge", "status")
FINISH_TEXT = "Again?"
BUDGET_S, TOTAL_S = 2.0, 5.0
SORRY = {"upstream_error", "upstream_timeout", "worker_lost", "no_worker", "overloaded", "cancelled"}
IMPATIENT = Profile(
    guard=("space", "filler"),
    guard_s=0.2,
    again_s=0.2,
    fillers={"en": ("one", "two", "three")},
    fillers_per_turn=5,
    early_failure="say",
    late_failure="say",
    on_empty="say",
    sentences={"en": FINISH_TEXT},
)
OURS_FIRST = re.compile(r"(?: |(?:one|two|three)\.{3} )*")
TROUBLE_S = 4.0  # afterwards the network is as it should be

whatever = settings(
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    max_examples=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

# --- what can happen -------------------------------------------------------------------------------

soon = st.floats(0.001, 0.03) | st.floats(0.03, 1.5)
lost = st.just(())
late = st.tuples(soon)
twice = st.tuples(st.just(0.0), soon)
faults = st.dictionaries(
    st.tuples(st.sampled_from(CORE), st.integers(0, 30)), lost | late | twice, max_size=10
) | st.dictionaries(st.tuples(st.sampled_from(CORE + QUEUE), st.integers(0, 10)), lost | late, max_size=10)


@dataclass(frozen=True)
class Outage:
    """None of a kind comes through for a while."""

    kind: str
    at_s: float
    for_s: float


@dataclass(frozen=True)
class Blow:
    """Something happens to a process. `which` counts them round."""

    what: str
    which: int
    at_s: float
    for_s: float


STORE = ("call state", "pub_ack", "no responders")  # a record on its way to its bucket, and the answer
stores_faults = st.dictionaries(st.tuples(st.sampled_from(STORE), st.integers(0, 4)), lost | late | twice, max_size=6)

moments = st.floats(0.0, 1.2)
outages = st.lists(st.builds(Outage, st.sampled_from(CORE + QUEUE), moments, st.floats(0.05, 2.0)), max_size=2)
workers_blows = st.sampled_from(["kill worker", "freeze worker", "cut worker off", "stall worker", "drain worker"])
other_blows = st.sampled_from(
    ["kill edge", "freeze edge", "cut edge off", "stall edge", "hang up", "restart server", "delete stream"]
)
where = (st.integers(0, 3), moments, st.floats(0.05, 2.5))
cancels = st.lists(
    st.builds(Blow, st.sampled_from(["cancel", "cancel", "hang up", "stall worker"]), *where), max_size=4
)
stores_outages = st.lists(st.builds(Outage, st.sampled_from(STORE), moments, st.floats(0.05, 2.0)), max_size=2)
blows = st.lists(st.builds(Blow, workers_blows | other_blows, *where), max_size=4)


@dataclass(frozen=True)
class Answer:
    """What one request to the upstream gets."""

    first_s: float
    count: int
    every_s: float
    ending: str

    def steps(self, number: int) -> Iterable[Step]:
        """Words that no other request says."""
        for at in range(self.count):
            yield self.every_s if at else self.first_s
            yield Text(f"{number}.{at} ")
        if self.ending == "fails":
            yield UpstreamError("cut")
        if self.ending == "calls a tool":
            yield ToolCall(0, f"call_{number}", "look_up", "{}")
        yield Finished("stop", Usage(completion=self.count))


answers = st.builds(
    Answer,
    st.sampled_from([0.02, 0.3, 0.9]),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.sampled_from(["well", "well", "fails", "calls a tool"]),
)


def script_of(upstream: list[Answer]) -> Script:
    def script(number: int, _: Job) -> Iterable[Step]:
        return upstream[number % len(upstream)].steps(number)

    return script


@dataclass(frozen=True)
class Call:
    """One turn of a caller."""

    at_s: float
    stream: bool
    edge: int


calls = st.lists(st.builds(Call, st.floats(0.0, 0.8), st.booleans(), st.integers(0, 1)), min_size=1, max_size=4)


# --- making it happen ------------------------------------------------------------------------------


class Trouble:
    """A line, its callers, and all that befalls them."""

    def __init__(self, line: Line, fates: Fates, *, responses: bool) -> None:
        self.line = line
        self.fates = fates
        self.responses = responses
        self.clients: list[tuple[EdgeProcess, Client]] = []
        self.cancels: list[tuple[EdgeProcess, str, Client]] = []  # the turns that they are for

    def call(self, call: Call) -> None:
        edge = self.line.edges[call.edge % len(self.line.edges)]
        if edge.lives:
            ask = edge.respond if self.responses else edge.post
            self.clients.append((edge, ask(stream=call.stream)))

    def outage(self, outage: Outage) -> None:
        self.line.at(outage.at_s, lambda: self.fates.lose_all(outage.kind))
        self.line.at(outage.at_s + outage.for_s, lambda: self.fates.let_through([outage.kind]))

    def strike(self, blow: Blow) -> None:
        what, _, target = blow.what.partition(" ")
        line = self.line
        if blow.what == "hang up":
            for _, client in self.clients[blow.which : blow.which + 1]:
                client.hang_up()
        elif blow.what == "cancel":
            self._cancel(blow.which)
        elif blow.what == "restart server":
            line.server.stop()
            line.at(blow.for_s, line.server.start)
        elif blow.what == "delete stream":
            for name in [name for name in line.server.streams.streams if "JOBS" in name]:
                line.server.streams.drop(name)
        else:
            processes: list[Process] = [*line.workers] if "worker" in target else [*line.edges]
            self._strike(processes[blow.which % len(processes)], what, blow.for_s)

    def _cancel(self, which: int) -> None:
        """On its own edge, or on the other one."""
        living = [edge for edge in self.line.edges if edge.lives]
        turns = [turn for edge in living for turn in edge.answering]
        if turns:
            asked, turn = living[which // 2 % len(living)], turns[which % len(turns)]
            self.cancels.append((asked, turn, asked.cancel(response_id_of(turn))))

    def _strike(self, process: Process, what: str, for_s: float) -> None:
        actions: dict[str, Callable[[], object]] = {
            "kill": process.kill,
            "freeze": lambda: process.freeze(for_s),
            "cut": lambda: process.cut_off(for_s),
            "stall": lambda: process.stall(for_s),
            "drain": process.drain,
        }
        if process.lives:
            actions[what]()

    def heard_out(self) -> bool:
        """Every caller who still listens, and whose edge lives, has come to an end."""
        asked = [(edge, client) for edge, _, client in self.cancels]
        return all(client.ended or client.left or not edge.lives for edge, client in self.clients + asked)


# --- what must hold --------------------------------------------------------------------------------


def is_spoken_by_one_chain(text: str, sayings: list[Saying]) -> bool:
    """Whether the text is what claims said, each going on from all that had been heard before it."""
    reached = {0}
    for saying in sayings:  # in the order in which they began
        start = len(saying.job.said)
        if start in reached and text[:start] == saying.job.said:
            heard = text[start:]
            common = next((at for at, (a, b) in enumerate(zip(heard, saying.text, strict=False)) if a != b), None)
            longest = min(len(heard), len(saying.text)) if common is None else common
            reached |= set(range(start, start + longest + 1))
    return len(text) in reached


def check(client: Client, sayings: list[Saying], on_lost: OnLost, profile: Profile | None) -> None:
    text = client.text
    before_end = isinstance(client, ResponseClient)  # the last words do not wait for the store, as the end does
    if (on_lost == "finish" or profile) and (client.ended_well or before_end):
        text = text.removesuffix(FINISH_TEXT)
    if profile and client.is_stream:
        text = OURS_FIRST.sub("", text, count=1)
    heard = text.split()
    assert len(heard) == len(set(heard)), f"said twice: {text}"
    if on_lost == "continue":
        assert is_spoken_by_one_chain(text, sayings), f"{text} is of no chain"
    else:
        assert any(saying.text.startswith(text) for saying in sayings) or not text, f"{text} is of no one claim"
    if not client.is_stream and client.ended_well:
        assert any(saying.job.said + saying.text == text for saying in sayings), "a body that is not whole"
    assert client.error is None or client.error["code"] in SORRY
    assert len({call["id"] for call in client.calls}) == len(client.calls) <= 1


def check_records(trouble: Trouble) -> None:
    known = {record.id for record in trouble.line.records}
    for edge, client in trouble.clients:
        if edge.lives and client.head:
            assert client.headers["x-request-id"] in known, "a turn without its record"


def check_stored(trouble: Trouble) -> None:
    """What its end says is what was said, and what is kept, if it says that it is."""
    for _, client in trouble.clients:
        if isinstance(client, ResponseClient) and client.response is not None:
            assert client.output_text == client.text
            if client.response["store"]:
                assert trouble.line.stored(client.response["id"]) == client.response


def check_cancels(trouble: Trouble) -> None:
    """Whoever is told that a response is cancelled is told the truth."""
    answered = [(turn, client.json) for edge, turn, client in trouble.cancels if edge.lives and client.status == 200]
    told = {turn for turn, response in answered if response["status"] == "cancelled"}
    for edge, client in trouble.clients:
        if isinstance(client, ResponseClient) and client.ended and edge.lives and not client.left:
            was_cancelled = client.finish_reason == "cancelled" or (client.error or {}).get("code") == "cancelled"
            assert was_cancelled or client.headers["x-request-id"] not in told


def play(
    on_lost: OnLost,
    upstream: list[Answer],
    slots: list[int],
    edges: int,
    calls: list[Call],
    fates: Fates,
    faults: dict[tuple[str, int], tuple[float, ...]],
    outages: list[Outage],
    blows: list[Blow],
    profile: Profile | None = None,
    *,
    responses: bool = False,
) -> None:
    """Let it all happen, then look."""
    turn: dict[str, Any] = {"on_lost": on_lost, "finish_text": FINISH_TEXT, "budget_s": BUDGET_S, "total_s": TOTAL_S}
    with Line(fate=fates, script=script_of(upstream), headers_after_s=0.5, profile=profile, **turn) as line:
        for _ in range(edges):
            line.add_edge()
        for count in slots:
            line.add_worker(slots=count, drain_s=0.5)
        line.run(1.0)
        fates.seen.clear()
        fates.of.update(faults)
        trouble = Trouble(line, fates, responses=responses)
        for call in calls:
            line.at(call.at_s, partial(trouble.call, call))
        for outage in outages:
            trouble.outage(outage)
        for blow in blows:
            line.at(blow.at_s, partial(trouble.strike, blow))

        line.run(TROUBLE_S)
        fates.of.clear()
        fates.let_through()
        line.until(trouble.heard_out)

        for _, client in trouble.clients:
            note(f"{client.status} {client.text!r} {client.error}")
        for edge, client in trouble.clients:
            check(client, line.sayings, on_lost, profile)
            assert client.ended_explicitly or client.left or not edge.lives
        line.settle()
        line.run(1.0)
        check_records(trouble)
        check_stored(trouble)
        check_cancels(trouble)
        works_again(line)


policies = st.sampled_from(["error", "finish", "continue"])
upstreams = st.lists(answers, min_size=1, max_size=4)


@whatever
@given(
    policies,
    upstreams,
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(1, 2),
    calls,
    faults,
    outages,
    blows,
)
def test_whatever_happens(
    on_lost: OnLost,
    upstream: list[Answer],
    slots: list[int],
    edges: int,
    calls: list[Call],
    faults: dict[tuple[str, int], tuple[float, ...]],
    outages: list[Outage],
    blows: list[Blow],
) -> None:
    play(on_lost, upstream, slots, edges, calls, Fates(), faults, outages, blows)


@whatever
@given(
    policies, upstreams, st.integers(2, 4), calls, faults, st.lists(st.builds(Blow, workers_blows, *where), max_size=3)
)
def test_whatever_happens_to_claims_that_no_ack_protects(
    on_lost: OnLost,
    upstream: list[Answer],
    workers: int,
    calls: list[Call],
    faults: dict[tuple[str, int], tuple[float, ...]],
    blows: list[Blow],
) -> None:
    """Every job is delivered again and again: many claims speak on one line at a time."""
    play(on_lost, upstream, [4] * workers, 1, calls, Fates({"ack": LOST, "cancel": LOST}), faults, [], blows)


long_answers = st.builds(Answer, st.just(0.05), st.integers(15, 40), st.just(0.05), st.just("well"))
worker_losses = st.builds(
    Blow,
    st.sampled_from(["kill worker", "kill worker", "freeze worker", "stall worker", "cut worker off"]),
    st.integers(0, 3),
    st.floats(0.1, 2.0),
    st.floats(0.3, 3.0),
)


@whatever
@given(
    policies,
    st.lists(long_answers, min_size=1, max_size=3),
    st.integers(2, 4),
    st.lists(st.builds(Call, st.floats(0.0, 0.3), st.booleans(), st.just(0)), min_size=1, max_size=3),
    faults,
    st.lists(worker_losses, min_size=1, max_size=3),
)
def test_whatever_happens_to_workers_that_are_speaking(
    on_lost: OnLost,
    upstream: list[Answer],
    workers: int,
    calls: list[Call],
    faults: dict[tuple[str, int], tuple[float, ...]],
    blows: list[Blow],
) -> None:
    play(on_lost, upstream, [2] * workers, 1, calls, Fates(), faults, [], blows)


@whatever
@given(policies, upstreams, st.lists(st.integers(1, 3), min_size=1, max_size=3), calls, faults, outages, blows)
def test_whatever_happens_while_the_edge_speaks(
    on_lost: OnLost,
    upstream: list[Answer],
    slots: list[int],
    calls: list[Call],
    faults: dict[tuple[str, int], tuple[float, ...]],
    outages: list[Outage],
    blows: list[Blow],
) -> None:
    """What the edge says first and last is all that comes to the words of one chain."""
    play(on_lost, upstream, slots, 1, calls, Fates(), faults, outages, blows, IMPATIENT)


@settings(whatever, max_examples=40)
@given(
    policies,
    upstreams,
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(1, 2),
    calls,
    faults | stores_faults,
    outages | stores_outages,
    blows | cancels,
    st.none() | st.just(IMPATIENT),
)
def test_whatever_happens_to_responses(
    on_lost: OnLost,
    upstream: list[Answer],
    slots: list[int],
    edges: int,
    calls: list[Call],
    faults: dict[tuple[str, int], tuple[float, ...]],
    outages: list[Outage],
    blows: list[Blow],
    profile: Profile | None,
) -> None:
    play(on_lost, upstream, slots, edges, calls, Fates(), faults, outages, blows, profile, responses=True)


def works_again(line: Line) -> None:
    """The next turn has a whole answer."""
    line.script = lambda number, _: [0.05, Text(f"{number} "), Finished("stop")]
    if not any(worker.lives and worker.drained is None for worker in line.workers):
        line.add_worker()
    line.run(1.0)
    for edge in line.edges:
        if edge.lives:
            client = edge.post()
            line.until(partial(getattr, client, "ended"), within_s=3.0)
            assert client.ended_well, client.error
            assert client.text == line.sayings[-1].text
    line.settle()
