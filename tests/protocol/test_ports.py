"""Which port a listener gets, and how it is reached."""

import errno
import socket

import pytest

from protocol.ports import bind, bind_next, url_of


class Machine:
    """One on which some ports are in use."""

    def __init__(self, *taken: int, error: int = errno.EADDRINUSE) -> None:
        self._taken = taken
        self._error = error
        self.tried: list[int] = []

    def bind(self, host: str, port: int) -> socket.socket:
        """As the real one: a socket, or OSError."""
        self.tried.append(port)
        if port in self._taken:
            raise OSError(self._error, "not for you")
        return bind(host, 0)


def test_a_port_that_was_not_asked_for_by_number_is_the_next_free_one() -> None:
    machine = Machine(9090, 9091)
    bind_next("127.0.0.1", None, 9090, machine.bind).close()
    assert machine.tried == [9090, 9091, 9092]


def test_a_port_that_was_asked_for_is_that_one_or_none() -> None:
    machine = Machine(9090)
    with pytest.raises(OSError, match="not for you"):
        bind_next("127.0.0.1", 9090, 9090, machine.bind)
    assert machine.tried == [9090]


def test_an_address_that_is_none_of_ours_is_not_tried_port_by_port() -> None:
    machine = Machine(9090, error=errno.EADDRNOTAVAIL)
    with pytest.raises(OSError, match="not for you"):
        bind_next("127.0.0.1", None, 9090, machine.bind)
    assert machine.tried == [9090]


def test_a_port_in_use_is_refused_and_a_shared_one_is_not() -> None:
    with bind("127.0.0.1", 0, reuse_port=True) as first:
        port = first.getsockname()[1]
        bind("127.0.0.1", port, reuse_port=True).close()
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", port)


class Bound:
    """A socket somewhere."""

    def __init__(self, *name: object) -> None:
        self._name = name

    def getsockname(self) -> tuple[object, ...]:
        """As the real one."""
        return self._name


@pytest.mark.parametrize(
    ("bound", "url"),
    [
        (Bound("127.0.0.1", 1), "http://127.0.0.1:1"),
        (Bound("0.0.0.0", 1), "http://127.0.0.1:1"),
        (Bound("::1", 1, 0, 0), "http://[::1]:1"),
        (Bound("::", 1, 0, 0), "http://[::1]:1"),
    ],
)
def test_a_url_can_be_opened_as_it_stands(bound: Bound, url: str) -> None:
    assert url_of(bound) == url
