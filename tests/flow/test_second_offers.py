"""What follows a claim that was lost after content: whoever listens waits again, as long as for a first word."""

from collections.abc import Iterable

import pytest

from protocol.messages import Finished, Job, Refusal, Text
from protocol.profiles import BUILT_IN
from protocol.settings_profiles import Profile
from tests.flow.line import Line
from tests.flow.target import Script, Step, words

VOICE = BUILT_IN["assemblyai"]
SORRY = VOICE.sentences["en"]
BUSY = [{"role": "user", "content": "busy"}]
BUDGET_S = 8.0


def busy_for(seconds: float, *, then_s: float = 0.3) -> Script:
    """One turn that holds a slot; any other stops in its middle, and whoever goes on has the rest."""

    def script(_: int, job: Job) -> Iterable[Step]:
        if job.messages[-1].content == "busy":
            return [0.1, Text("x"), seconds, Finished("stop")]
        if job.said:
            return [then_s, Text(" three"), 20.0, Text(" four"), Finished("stop")]
        return [0.3, Text("One two"), 60.0, Finished("stop")]

    return script


@pytest.mark.parametrize("profile", [VOICE, None])
def test_a_continuation_that_nobody_takes_ends_with_its_own_budget_and_not_in_two_minutes(
    profile: Profile | None,
) -> None:
    with Line(script=busy_for(110.0), profile=profile, budget_s=BUDGET_S, on_lost="continue") as line:
        edge, first = line.add_edge(), line.add_worker(slots=1)
        client = edge.post()
        line.until(lambda: client.text)
        line.add_worker(slots=1)
        busy = edge.post(messages=BUSY)
        line.run(0.5)

        first.kill()

        line.until(lambda: client.ended, within_s=BUDGET_S + 2.0)
        assert client.text == (f"One two {SORRY}" if profile else "One two")
        assert client.ended_explicitly
        line.until(lambda: line.queued == 0, within_s=1.0)
        line.until(lambda: line.records)
        assert (line.records[0].outcome, line.records[0].error) == ("deadline", "overloaded")
        busy.hang_up()
        line.settle()


def test_a_continuation_that_says_nothing_is_late_after_its_own_budget() -> None:
    with Line(script=busy_for(0.0, then_s=60.0), profile=VOICE, budget_s=BUDGET_S) as line:
        edge, first = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: client.text)
        line.add_worker()

        first.kill()

        line.until(lambda: client.ended, within_s=BUDGET_S + 2.0)
        assert client.text == f"One two {SORRY}"
        line.settle()


def test_a_continuation_that_has_begun_has_until_the_end() -> None:
    with Line(script=busy_for(4.0), profile=VOICE, budget_s=BUDGET_S) as line:
        edge, first = line.add_edge(), line.add_worker(slots=1)
        client = edge.post()
        line.until(lambda: client.text)
        line.add_worker(slots=1)
        edge.post(messages=BUSY)
        line.run(0.5)

        first.kill()

        line.until(lambda: client.ended)
        assert client.text == "One two three four"
        assert client.ended_well
        line.settle()


@pytest.mark.parametrize("killed_at_s", [3.0, 9.0])
def test_a_body_whose_worker_is_lost_is_made_again_with_a_full_budget(killed_at_s: float) -> None:
    with Line(script=words(24, first_s=0.5, every_s=0.5), profile=VOICE, budget_s=BUDGET_S) as line:
        edge, first = line.add_edge(), line.add_worker()
        client = edge.post(stream=False)
        line.run(killed_at_s)
        line.add_worker()

        first.kill()

        line.until(lambda: client.ended)
        assert client.ended_well
        assert client.text == line.sayings[1].text
        line.settle()


@pytest.mark.parametrize(("profile", "said"), [(None, 1), (VOICE, 0)])
def test_a_refusal_that_is_lost_in_its_middle_is_not_said_twice(profile: Profile | None, said: int) -> None:
    def script(_: int, job: Job) -> Iterable[Step]:
        return [0.2, Refusal(" not" if job.said else "I will"), 3.0, Finished("stop")]

    with Line(script=script, profile=profile, on_lost="continue") as line:
        edge, first = line.add_edge(), line.add_worker()
        client = edge.post()
        line.until(lambda: b"I will" in client.body)
        line.add_worker()

        first.kill()

        line.until(lambda: client.ended)
        assert client.body.count(b'"refusal":"I will"') == said
        assert client.text == ("I will not" if profile else "")
        assert client.ended_explicitly
        line.settle()
