from typing import Any

from bench import verdict
from bench.client import Answer, End
from bench.orders import Generation, Order

SSE = {"content-type": "text/event-stream"}
LOST = {"code": "worker_lost"}


def generation(
    number: int = 1, tokens: int = 3, *, finished: float | None = 2.0, closed: float | None = None
) -> Generation:
    order = Order(tokens=tokens)
    return Generation(tag="a", number=number, order=order, received=1.0, finished=finished, closed=closed)


def answer(text: str = "g1.0 g1.1 g1.2 ", **fields: Any) -> Answer:
    whole: dict[str, Any] = {"status": 200, "headers": SSE, "end": End.COMPLETE, "finish_reason": "stop", "done": True}
    return Answer(started=0.0, words=[f"{word} " for word in text.split()], **{**whole, **fields})


def lost(text: str, **fields: Any) -> Answer:
    return answer(text, **{"error": LOST, "done": False, "finish_reason": None, **fields})


def test_a_whole_answer_is_complete() -> None:
    assert verdict.complete(answer(), [generation()]) == []
    assert verdict.complete(answer("g2.0 "), [generation(closed=2.0), generation(2, 1)]) == []


def test_a_part_is_not_complete() -> None:
    assert verdict.complete(answer("g1.0 g1.1 "), [generation()])


def test_two_generations_mixed_are_neither_complete_nor_a_beginning() -> None:
    mixed = "g1.0 g2.1 g2.2 "

    assert verdict.complete(answer(mixed), [generation(1), generation(2)])
    assert verdict.prefix(answer(mixed), [generation(1), generation(2)])


def test_a_word_said_twice_is_found() -> None:
    assert verdict.nothing_twice(answer("g1.0 g1.0 "))


def test_an_answer_without_an_end_is_not_explicit() -> None:
    cases: list[dict[str, Any]] = [{"done": False}, {"finish_reason": None}, {"end": End.CUT}]
    for fields in cases:
        assert verdict.explicit(answer(**fields), [generation()]), fields


def test_an_error_after_some_words_is_explicit() -> None:
    assert verdict.explicit(lost("g1.0 "), [generation(finished=None, closed=2.0)]) == []


def test_an_error_must_be_the_last_word() -> None:
    said = generation(finished=None, closed=2.0)

    assert verdict.explicit(lost("g1.0 ", done=True), [said])
    assert verdict.explicit(lost("g1.0 ", finish_reason="stop"), [said])
    assert verdict.explicit(lost("g1.0 ", end=End.CUT), [said])


def test_a_turn_may_be_lost_only_after_something_was_heard() -> None:
    said = [generation(finished=None, closed=2.0)]

    assert verdict.moved_or_explicit(lost("g1.0 "), said) == []
    assert verdict.moved_or_explicit(lost(""), said)
    assert verdict.moved_or_explicit(lost("", status=503, headers={}), said)


def test_a_refusal_says_why_and_when_to_come_back() -> None:
    headers = {"retry-after": "1", "x-should-retry": "false"}
    refusal = lost("", status=503, headers=headers, error={"code": "overloaded"})

    assert verdict.refused(refusal) == []
    assert verdict.refused(answer())
    refusal.headers = {}
    assert len(verdict.refused(refusal)) == 2


def test_who_hangs_up_leaves_one_closed_generation_at_most() -> None:
    gone = answer("g1.0 ", end=End.HUNG_UP, done=False)

    assert verdict.hung_up(gone, [generation(finished=None, closed=2.0)]) == []
    assert verdict.hung_up(answer(""), []) == []
    assert verdict.hung_up(gone, [generation(finished=None)])
    assert verdict.hung_up(gone, [generation(closed=2.0), generation(2, closed=2.0)])


def test_every_turn_has_one_record() -> None:
    assert verdict.one_record_each(["a", "b"], {"a": 1, "b": 1, "c": 5}) == []
    assert len(verdict.one_record_each(["a", "b"], {"a": 2})) == 2


def test_a_line_at_rest_has_empty_streams_and_free_slots() -> None:
    assert verdict.nothing_waits({"JOBS_default": 0}) == []
    assert verdict.nothing_waits({"JOBS_default": 1})
    assert verdict.nothing_waits({})
    assert verdict.slots_free([{"workers": 1, "slots_free": 4}], 4) == []
    assert verdict.slots_free([{"workers": 1, "slots_free": 3}], 4)
    assert verdict.slots_free([{}], 4)
    assert verdict.at_rest([generation(finished=None)])
    assert verdict.never_called([generation()])
