import pytest

from bench.http1 import LAST_CHUNK, Request, ResponseReader, chunk, take_request

PLAIN = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-A: b: c\r\n\r\nno"
STREAM = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"data: 1\n\n") + chunk(b"x" * 300) + LAST_CHUNK
)


def test_a_request_is_taken_whole_and_the_next_one_stays() -> None:
    buffer = bytearray(b"POST /a?b=c HTTP/1.1\r\nContent-Length: 3\r\nX: Y\r\n\r\nabcGET / HTTP/1.1\r\n\r\n")

    assert take_request(buffer) == Request("POST", "/a?b=c", {"content-length": "3", "x": "Y"}, b"abc")
    assert take_request(buffer) == Request("GET", "/", {}, b"")
    assert take_request(buffer) is None


def test_an_incomplete_request_is_left_alone() -> None:
    buffer = bytearray(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab")

    assert take_request(buffer) is None
    assert buffer.endswith(b"ab")


def test_a_chunked_request_is_refused() -> None:
    with pytest.raises(ValueError):
        take_request(bytearray(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"))


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize(
    ("data", "status", "body"),
    [(PLAIN, 404, b"no"), (STREAM, 200, b"data: 1\n\n" + b"x" * 300)],
    ids=["plain", "chunked"],
)
def test_a_response_reads_the_same_in_pieces_of_any_size(data: bytes, status: int, body: bytes, size: int) -> None:
    reader = ResponseReader()

    read = b"".join(reader.feed(data[start : start + size]) for start in range(0, len(data), size))

    assert (reader.status, read, reader.complete) == (status, body, True)


def test_a_body_without_a_length_is_complete_only_when_its_connection_ends() -> None:
    reader = ResponseReader()

    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nall") == b"all"
    assert not reader.complete


def test_a_chunked_body_that_is_cut_is_not_complete() -> None:
    reader = ResponseReader()

    reader.feed(STREAM.removesuffix(LAST_CHUNK))

    assert not reader.complete
