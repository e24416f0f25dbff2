"""Records that are late: bounded in bytes and in time, oldest first."""

import pytest

from edge.late_records import LATE_BYTES, LATE_S, LateRecords


def test_a_record_is_there_until_it_is_taken() -> None:
    late = LateRecords()
    late.put("a", b"1", now=0.0)
    late.put("b", b"2", now=0.0)
    late.put("a", b"3", now=1.0)

    assert (bool(late), late.get("a"), late.get("c")) == (True, b"3", b"")
    assert late.waiting(2.0) == [("b", b"2"), ("a", b"3")]
    assert (late.pop("a"), late.pop("a"), late.pop("b"), bool(late)) == (b"3", b"", b"2", False)


def test_nothing_is_written_that_is_too_old() -> None:
    late = LateRecords()
    late.put("old", b"1", now=0.0)
    late.put("young", b"2", now=10.0)

    assert late.waiting(LATE_S + 1) == [("young", b"2")]
    assert late.get("old") == b""


@pytest.mark.parametrize("size", [LATE_BYTES // 3, LATE_BYTES])
def test_the_oldest_make_room(size: int) -> None:
    late = LateRecords()
    for number in range(10):
        late.put(str(number), b"x" * size, now=number)

    kept = [subject for subject, _ in late.waiting(0.0)]
    assert kept == [str(number) for number in range(10)][-(LATE_BYTES // size) :]
