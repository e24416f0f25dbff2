"""Which port a listener gets, and how it is reached."""

import errno

import pytest

from protocol.ports import listen, url_of


async def taken(port: int) -> int:
    """A machine on which 9090 and 9091 are in use."""
    if port in (9090, 9091):
        raise OSError(errno.EADDRINUSE, "in use")
    return port


async def test_a_port_that_was_not_asked_for_by_number_is_the_next_free_one() -> None:
    assert await listen(taken, None, 9090) == 9092


async def test_a_port_that_was_asked_for_is_that_one_or_none() -> None:
    with pytest.raises(OSError, match="in use"):
        await listen(taken, 9090, 9090)


async def test_an_address_that_is_none_of_ours_is_not_tried_port_by_port() -> None:
    tried = []

    async def nowhere(port: int) -> int:
        tried.append(port)
        raise OSError(errno.EADDRNOTAVAIL, "not ours")

    with pytest.raises(OSError, match="not ours"):
        await listen(nowhere, None, 9090)
    assert tried == [9090]


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("::1", "http://[::1]:1"), ("0.0.0.0", "http://127.0.0.1:1")],
)
def test_a_url_can_be_opened_as_it_stands(host: str, url: str) -> None:
    assert url_of(host, 1) == url
