"""Sampled stacks -> layers and functions. Pure.

A sample is a line of py-spy's `raw` format with full file names: frames from the outermost to the innermost, then how
often this stack was seen: `main (/…/edge/__main__.py:12);Relay.run (/…/edge/relay.py:105) 3`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

FRAME = re.compile(r"(?P<name>.*) \((?P<file>.*?)(?::(?P<line>\d+))?\)$")
OURS = ("edge", "workers", "protocol", "trunkline")
CODEC = ("protocol/codec.py", "protocol/sse.py", "msgspec/", "orjson/")
TELEMETRY = ("opentelemetry/", "requests/", "urllib3/", "google/protobuf/", "prometheus_client/")
LOOP_FILES = ("asyncio/runners.py", "asyncio/base_events.py", "uvloop/")
NATIVE = re.compile(r"\.(?:c|h|so)(?:\.|$)|^\[|^\?")
SYSTEM_CALLS = {"write", "writev", "read", "readv", "recv", "send", "sendmsg", "epoll_pwait", "epoll_wait", "epoll_ctl"}
IDLE = {"wait (threading.py)", "Condition.wait (threading.py)"}
"""A thread that waits for another one: it may look busy from outside, and costs nothing."""

LOOP, SYSCALLS, HTTP_WRITE = "event loop and system calls", "system calls", "HTTP write"


class Frame(Struct, frozen=True):
    """One function on a stack. `file` begins at its package."""

    name: str
    file: str

    def __str__(self) -> str:
        return f"{self.name} ({self.file})"

    @property
    def native(self) -> bool:
        """C, as `--native` shows it; or an address without a name."""
        return bool(NATIVE.search(self.file)) or self.name.startswith("0x")


class Stack(Struct, frozen=True):
    """One way to be busy, and how often it was seen."""

    frames: tuple[Frame, ...]
    count: int

    @property
    def idle(self) -> bool:
        """Not busy at all."""
        leaf = next((frame for frame in reversed(self.frames) if not frame.native), None)
        return str(leaf) in IDLE


def parse(raw: str, root: str) -> list[Stack]:
    """The stacks that were busy. `root`: where our packages are."""
    stacks = (_stack(line, root) for line in raw.splitlines() if line.strip())
    return [stack for stack in stacks if not stack.idle]


def _stack(line: str, root: str) -> Stack:
    frames, _, count = line.rpartition(" ")
    return Stack(tuple(_frame(text, root) for text in frames.split(";")), int(count))


def _frame(text: str, root: str) -> Frame:
    found = FRAME.match(text)
    if found is None:
        return Frame(text, "")
    return Frame(found["name"], package_path(found["file"], root))


def package_path(file: str, root: str) -> str:
    """`edge/relay.py`, `aiohttp/web.py`, `asyncio/streams.py`, `libc.so.6`: what is the same on every machine."""
    for base in (r".*/(?:site|dist)-packages/", re.escape(root.rstrip("/")) + "/", r".*/lib/python3[.\d]*/"):
        if found := re.match(base, file):
            file = file[found.end() :]
            break
    return file.rpartition("/")[2] if NATIVE.search(file) else file


def layer(stack: Stack) -> str:
    """Whose time it is: the innermost frame's that belongs to somebody. What the standard library and C code spend,
    they spend for who calls them; the loop itself is called by nobody.
    """
    leaf = stack.frames[-1]
    if leaf.native and leaf.name in SYSTEM_CALLS:
        return SYSCALLS
    for frame in reversed(stack.frames):
        if not frame.native and (owner := _owner(frame.file)):
            return owner
    return LOOP


def _owner(file: str) -> str | None:
    if file.startswith(LOOP_FILES):
        return LOOP
    if file.startswith(CODEC):
        return "codec"
    if file.startswith(TELEMETRY):
        return "telemetry"
    if file == "aiohttp/http_writer.py":
        return HTTP_WRITE
    if file.startswith(("aiohttp/", "multidict/", "yarl/")):
        return "HTTP, the rest"
    if file.startswith("nats/"):
        return "NATS client"
    if file.startswith("logging/"):
        return "logs"
    if file.partition("/")[0] in OURS:
        return file.removesuffix(".py").replace("/", ".")
    return None


def by_layer(stacks: Iterable[Stack]) -> dict[str, float]:
    """The share of each, the largest first."""
    counts: Counter[str] = Counter()
    for stack in stacks:
        counts[layer(stack)] += stack.count
    return {name: count / counts.total() for name, count in counts.most_common()}


class Function(Struct, frozen=True):
    """A function's share of the samples: as the innermost one, and anywhere on the stack."""

    name: str
    own: float
    total: float


def functions(stacks: Sequence[Stack], top: int) -> list[Function]:
    """Those that spend the most themselves."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for stack in stacks:
        own[str(stack.frames[-1])] += stack.count
        for name in {str(frame) for frame in stack.frames}:  # once, though it may call itself
            total[name] += stack.count
    every = own.total()
    return [Function(name, count / every, total[name] / every) for name, count in own.most_common(top)]


def collapsed(kind: str, stacks: Iterable[Stack]) -> str:
    """The stacks as flame graph tools read them, under the kind of the process."""
    lines = (f"{kind};{';'.join(str(frame) for frame in stack.frames)} {stack.count}" for stack in stacks)
    return "".join(f"{line}\n" for line in lines)
