"""A request's body as bytes, bounded in time and size, and unpacked where it came compressed."""

import asyncio
import zlib
from collections.abc import Callable

from aiohttp import web

from protocol.errors import InvalidJson, RequestTimeout, ServiceError, TooLarge

BODY_BYTES = 8 << 20
BODY_S = 30.0  # a body that takes longer to arrive is a 408
PLAIN = ("", "identity")
PACKED = ("gzip", "x-gzip", "deflate")
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # as the data's own header says


async def read_body(request: web.Request) -> bytes:
    """Raises ServiceError: too large, too slow, or not readable."""
    try:
        async with asyncio.timeout(None if request.content.is_eof() else BODY_S):
            body = await request.read()
    except TimeoutError:
        raise too_slow() from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    except (web.HTTPException, ConnectionError):
        raise
    except Exception as error:
        raise unreadable(error) from None
    encoding = encoding_of(request)
    if encoding in PACKED:
        return await asyncio.to_thread(unpacked, body, encoding)
    if encoding not in PLAIN and not body.lstrip().startswith(b"{"):  # some say `utf-8` there
        raise InvalidJson("the body's content-encoding is not read here; send plain JSON, or pack it with gzip")
    return body


def encoding_of(request: web.Request) -> str:
    """How the body is packed; it may be one of `PACKED`."""
    return request.headers.get("Content-Encoding", "").strip().lower()


async def pour(request: web.Request, take: Callable[[bytes], None], *, limit_bytes: int) -> None:
    """Hand over a body part by part, as it arrives, packed or not. Raises ServiceError as `read_body` does."""
    refusal = TooLarge(f"the body is over {limit_bytes >> 20} MiB; nothing so large is taken here")
    if (request.content_length or 0) > limit_bytes:
        raise refusal
    size = 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit_bytes:
                    raise refusal
                take(part)
    except TimeoutError:
        raise too_slow() from None
    except (ServiceError, web.HTTPException, ConnectionError):
        raise
    except Exception as error:
        raise unreadable(error) from None


def too_slow() -> ServiceError:
    """A body that does not come."""
    return RequestTimeout(f"the body did not arrive within {BODY_S:g} s")


def unreadable(error: Exception) -> ServiceError:
    """A body whose framing is broken: a chunk size that lies."""
    return InvalidJson(f"the body cannot be read ({type(error).__name__}); send plain JSON")


def too_large() -> ServiceError:
    """A body over the limit, packed or unpacked."""
    return TooLarge(f"the body is over {BODY_BYTES >> 20} MiB; shorten the history")


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body as it was before it was compressed. Raises ServiceError: it never was, or it is too large."""
    plain = unpacked_up_to(BODY_BYTES, body, encoding)
    if len(plain) > BODY_BYTES:
        raise too_large()
    return plain


def unpacked_up_to(limit_bytes: int, body: bytes, encoding: str) -> bytes:
    """The same, or of a larger one the first bytes, which are one more than the limit.

    aiohttp would do it, but answers bytes that it cannot unpack with plain text, or by closing the connection.
    """
    unpack = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        plain = unpack.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise InvalidJson(f"the body is not {encoding}, as its content-encoding says; send plain JSON") from None
    if len(plain) <= limit_bytes and not unpack.eof:
        raise InvalidJson(f"the body's {encoding} is cut short; send plain JSON")
    return plain
