"""The stream of what platforms send after calls, as an edge writes it."""

from protocol import codec, streams
from protocol.errors import TooLarge
from protocol.messages import Hook
from protocol.streams import HookLimits, JobLimits, StreamError, Streams
from protocol.subjects import Subjects
from protocol.wire import NoResponders, Wire

KEEP_S = 5.0  # megabytes, on their way to a disk
HEADERS_BYTES = 512  # more than a hook has beside its body


class HookStream:
    """One edge's way to `WEBHOOKS`."""

    def __init__(self, wire: Wire, subjects: Subjects, limits: HookLimits) -> None:
        self._wire = wire
        self._subjects = subjects
        self._limits = limits
        self._streams = Streams(self._api, subjects, JobLimits())

    @property
    def room_bytes(self) -> int:
        """No longer body is taken. Who reads it gets it from JetStream in base64, in one message of the bus too."""
        return self._wire.max_payload * 2 // 3 - HEADERS_BYTES

    async def open(self) -> None:
        """Find or make it.

        Raises:
            StreamError, TimeoutError, Disconnected, NoResponders: JetStream is not usable.
        """
        await self._streams.hooks(self._limits)

    async def keep(self, hook: Hook, msg_id: str) -> bool:
        """Keep one; True: it was there already, under the same id.

        Raises:
            TooLarge: it does not fit into one message.
            StreamError, TimeoutError, NoResponders, Disconnected: it is not known to be kept; try again.
        """
        data = codec.encode_hook(hook)
        if len(data) > self.room_bytes:
            raise TooLarge(f"it is {len(data)} bytes as a message; there is room for {self.room_bytes}")
        subject = self._subjects.hook(hook.platform, hook.conversation_id or "")
        headers = streams.hook_headers(msg_id, hook.type)
        try:
            answer = await self._wire.request(subject, data, timeout_s=KEEP_S, headers=headers)
        except NoResponders:  # nobody keeps this subject: the stream is gone
            await self.open()
            answer = await self._wire.request(subject, data, timeout_s=KEEP_S, headers=headers)
        ack = streams.parse_pub_ack(answer)
        if ack.full or ack.error:
            raise StreamError(0, ack.error or "the stream is full")
        return ack.duplicate

    async def _api(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        return await self._wire.request(subject, data, timeout_s=timeout_s)
