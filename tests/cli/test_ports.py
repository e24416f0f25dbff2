import socket

import pytest

from protocol.settings import SettingsError
from trunkline.ports import EPHEMERAL, LOWEST, free_port, is_taken, reserve

HOST = "127.0.0.1"


def test_a_port_that_somebody_listens_on_is_refused_by_its_number() -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]

        assert is_taken(HOST, port)
        with pytest.raises(SettingsError, match=f"port {port} on {HOST} is in use; .*--port"):
            reserve(HOST, port)


def test_a_listener_that_would_share_its_port_still_has_it() -> None:
    """Two lines on one port would take each other's turns."""
    with socket.create_server((HOST, 0), reuse_port=True) as other, pytest.raises(SettingsError, match="is in use"):
        reserve(HOST, other.getsockname()[1])


def test_children_share_a_reserved_port_and_the_reservation_takes_no_connection() -> None:
    with reserve(HOST, 0) as reserved:
        port = reserved.getsockname()[1]
        with (
            socket.create_server((HOST, port), reuse_port=True) as one,
            socket.create_server((HOST, port), reuse_port=True) as two,
        ):
            one.setblocking(False)
            two.setblocking(False)
            accepted = 0
            for _ in range(20):
                with socket.create_connection((HOST, port)):
                    accepted += _accepted(one) + _accepted(two)

    assert accepted == 20


def _accepted(listener: socket.socket) -> int:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return 0
    connection.close()
    return 1


def test_an_address_of_another_machine_is_refused_with_a_cure() -> None:
    with pytest.raises(SettingsError, match=r"cannot listen on 203\.0\.113\.1 port 0: .*; choose others with"):
        reserve("203.0.113.1", 0)


def test_a_free_port_is_one_that_the_system_gives_nobody_unasked() -> None:
    """Every listener on port 0 and every connection that goes out may get one of the others at any time."""
    with socket.create_server((HOST, 0)) as unasked:
        lowest = min(unasked.getsockname()[1], EPHEMERAL)

    ports = [free_port(HOST) for _ in range(200)]

    assert all(LOWEST <= port < lowest and not is_taken(HOST, port) for port in ports)
    assert len(set(ports)) > 150


def test_a_machine_without_room_below_still_finds_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.ports.is_taken", lambda _host, _port: True)

    assert free_port(HOST) > 0
