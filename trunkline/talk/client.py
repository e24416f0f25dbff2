"""The caller's side of HTTP: which models there are, and one streamed answer."""

import asyncio
from collections.abc import Callable

import aiohttp
import msgspec
from msgspec import Struct

from protocol.sse import EventReader, TooLong
from trunkline.talk.chunks import ChunkReader, Piece, Trouble, sentence_of
from trunkline.talk.failure import START, Failure

CONNECT_S = 5.0
SILENCE_S = 120.0  # the line says at least that it lives, every few seconds; others may think for long
EVENT_BYTES = 8 * 1024 * 1024  # as much as a request may hold
USAGE = 2
KEY_CURE = "name the variable that holds the key with --key-env"


class Opened(Struct, frozen=True):
    """The answer begins. Servers other than the line may name neither."""

    turn_id: str | None
    trace_id: str | None


class _Model(Struct, frozen=True):
    id: str


class _Models(Struct, frozen=True):
    data: tuple[_Model, ...] = ()


class _Refused(Struct, frozen=True):
    error: Trouble | str


class Client:
    """One caller of one API. Use as a context manager; the key goes out in its header and nowhere else."""

    def __init__(self, url: str, *, key: str | None, headers: dict[str, str]) -> None:
        self._url = url
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        self._session = aiohttp.ClientSession(headers={**headers, **authorization}, timeout=timeout)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def models(self) -> tuple[str, ...]:
        """The names that may be asked for. Raises Failure."""
        try:
            async with self._session.get(f"{self._url}/v1/models") as response:
                if response.status != 200:
                    raise await self._refusal(response)
                listed = msgspec.json.decode(await response.read(), type=_Models)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._away(error) from None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise Failure(f"{self._url}/v1/models is no list of models; is this such an API?") from None
        return tuple(model.id for model in listed.data)

    async def ask(self, body: bytes, hear: Callable[[Opened | Piece], None]) -> None:
        """One answer, piece by piece. Cancelled, it has closed the connection: the line takes that for a hang-up.

        Raises:
            Failure: there is no answer, or not all of it.
        """
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        try:
            async with self._session.post(f"{self._url}/v1/chat/completions", data=body, headers=headers) as response:
                try:
                    hear(Opened(response.headers.get("x-request-id"), response.headers.get("x-trace-id")))
                    if response.status != 200:
                        raise await self._refusal(response)
                    await self._read(response, hear)
                except asyncio.CancelledError:
                    response.close()
                    raise
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise self._away(error) from None
        except TooLong as error:
            raise Failure(f"{self._url} sent what nobody can use: {error}") from None

    async def _read(self, response: aiohttp.ClientResponse, hear: Callable[[Opened | Piece], None]) -> None:
        if response.content_type != "text/event-stream":
            raise Failure(f"{self._url} answered with {response.content_type}, no event stream; is it such an API?")
        events, chunks = EventReader(limit_bytes=EVENT_BYTES), ChunkReader()
        async for data in response.content.iter_any():
            for event in events.feed(data):
                for piece in chunks.read(event):
                    hear(piece)
        for event in events.end():
            for piece in chunks.read(event):
                hear(piece)
        for piece in chunks.end():
            hear(piece)

    async def _refusal(self, response: aiohttp.ClientResponse) -> Failure:
        """An answer that is an error, in one sentence."""
        try:
            said = sentence_of(msgspec.json.decode(await response.read(), type=_Refused).error)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            said = f"{response.reason} from {self._url}, and no error object"
        if response.status in (401, 403):
            return Failure(f"{response.status}: {said}; {KEY_CURE}", status=response.status, exit_code=USAGE)
        return Failure(f"{response.status}: {said}", status=response.status)

    def _away(self, error: Exception) -> Failure:
        """No answer came: why, in one sentence."""
        if isinstance(error, aiohttp.ClientSSLError):
            return Failure(f"{self._url} could not be trusted: check its certificate, or whether it speaks TLS at all")
        if isinstance(error, aiohttp.ClientConnectorError):
            return Failure(f"no line answers at {self._url}; {START}")
        if isinstance(error, TimeoutError):
            return Failure(f"{self._url} stayed silent for too long; see how it is with `trunkline check`")
        return Failure(f"the connection to {self._url} broke off; see how the line is with `trunkline check`")
