"""Coroutines that never wait."""

import asyncio

import pytest

from protocol.at_once import Waits, at_once


def test_a_coroutine_that_never_waits_is_run_to_its_end() -> None:
    done: list[int] = []

    async def inner() -> int:
        return 1

    async def outer() -> None:
        done.append(await inner())

    at_once(outer())

    assert done == [1]


def test_what_it_raises_is_raised() -> None:
    async def fails() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        at_once(fails())


def test_one_that_waits_is_closed_and_told_of() -> None:
    closed: list[bool] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    with pytest.raises(Waits):
        at_once(waits())
    assert closed == [True]
