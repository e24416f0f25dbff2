"""What a worker keeps of a claim that is over. How the bus carries a turn is told in tests/flow and tests/broker."""

import asyncio

from protocol import codec
from protocol.messages import Ask
from tests.flow.line import Line
from tests.flow.processes import SUBJECTS, EdgeProcess, WorkerProcess
from workers.bus import KEPT_S, TICK_S

FAR = 1000  # no frame has this number: none is sent again


def ask(edge: EdgeProcess, worker: WorkerProcess, claim: int) -> "asyncio.Task[bytes]":
    """As an edge does that wants to know what has become of a claim."""
    question = codec.encode(Ask(edge.name, ((claim, FAR),)))
    return edge.loop.create_task(edge.wire.request(SUBJECTS.worker(worker.name), question, timeout_s=1.0))


def test_a_claim_that_has_long_been_over_is_unknown_and_nothing_of_it_is_kept() -> None:
    """A worker that forgot nothing would grow with every turn."""
    with Line() as line:
        edge, worker = line.add_edge(), line.add_worker()
        first, second = edge.post(), edge.post()
        line.until(lambda: worker.bus.live == 2)
        claims = list(worker.bus._claims)
        line.until(lambda: first.ended and second.ended and worker.bus.live == 0)

        line.run(KEPT_S - 1.0)
        early = [ask(edge, worker, claim) for claim in claims]
        line.until(lambda: all(answer.done() for answer in early))
        line.run(1.0 + 2 * TICK_S)
        late = [ask(edge, worker, claim) for claim in claims]
        line.until(lambda: all(answer.done() for answer in late))

        frames = 7  # Claimed, five words, Finished
        assert [codec.decode_answer(answer.result()).next for answer in early] == [(frames,), (frames,)]
        assert [codec.decode_answer(answer.result()).next for answer in late] == [(None,), (None,)]
        assert [len(kept) for kept in (worker.bus._claims, worker.bus._running, worker.bus._closed)] == [0, 0, 0]
