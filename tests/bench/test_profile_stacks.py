"""Samples as py-spy writes them, and what is made of them."""

import pytest

from bench.profile import stacks
from bench.profile.command import refusal
from bench.profile.stacks import Function

ROOT = "/srv/line"
LOOP = "<module> (/srv/line/edge/__main__.py);Runner.run (/usr/lib/python3.11/asyncio/runners.py)"
RELAY = f"{LOOP};Relay.run (/srv/line/edge/relay.py)"
SITE = "/srv/line/.venv/lib/python3.11/site-packages"

LAYERS = {
    RELAY: "edge.relay",
    LOOP: "event loop and system calls",
    f"{RELAY};put (/usr/lib/python3.11/asyncio/queues.py)": "edge.relay",
    f"{RELAY};<genexpr> (<string>)": "edge.relay",
    f"{RELAY};write (/srv/line/edge/answers.py);_write ({SITE}/aiohttp/http_writer.py)": "HTTP write",
    f"{LOOP};data_received ({SITE}/aiohttp/client_proto.py)": "HTTP, the rest",
    f"{LOOP};_read_loop ({SITE}/nats/aio/client.py)": "NATS client",
    f"{RELAY};decode_batch (/srv/line/protocol/codec.py)": "codec",
    f"{RELAY};start_span ({SITE}/opentelemetry/sdk/trace/__init__.py)": "telemetry",
    f"{RELAY};inc ({SITE}/prometheus_client/values.py)": "telemetry",
    f"{RELAY};emit (/usr/lib/python3.11/logging/__init__.py)": "logs",
    # with --native
    f"{RELAY};UVStream_write (/tmp/build/uvloop/loop.c);write (libc.so.6)": "system calls",
    f"{RELAY};json_decode (msgspec/_core.cpython-311-x86_64-linux-gnu.so)": "edge.relay",
    f"{LOOP};uv_run (core.c);0x7f16 (libc.so.6)": "event loop and system calls",
    "0x7f16 (libc.so.6)": "event loop and system calls",
}


@pytest.mark.parametrize(("sample", "layer"), LAYERS.items())
def test_time_belongs_to_the_innermost_who_spends_it_for_nobody_else(sample: str, layer: str) -> None:
    [stack] = stacks.parse(f"{sample} 3\n", ROOT)

    assert stacks.layer(stack) == layer


def test_threads_that_wait_for_others_are_not_busy() -> None:
    waiting = "_bootstrap (/usr/lib/python3.11/threading.py);Condition.wait (/usr/lib/python3.11/threading.py)"

    found = stacks.parse(f"{waiting} 50\n{waiting};0x7f (libc.so.6) 20\n{RELAY} 1\n", ROOT)

    assert [stack.count for stack in found] == [1]


def test_layers_and_functions_have_their_shares() -> None:
    found = stacks.parse(
        f"{RELAY} 2\n"
        f"{RELAY};say (/srv/line/edge/answers.py);say (/srv/line/edge/answers.py) 1\n"  # it calls itself
        f"{LOOP} 1\n",
        ROOT,
    )

    assert stacks.by_layer(found) == {"edge.relay": 0.5, "edge.answers": 0.25, "event loop and system calls": 0.25}
    assert stacks.functions(found, 2) == [
        Function("Relay.run (edge/relay.py)", 0.5, 0.75),
        Function("say (edge/answers.py)", 0.25, 0.25),
    ]


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        (f"{SITE}/aiohttp/web.py", "aiohttp/web.py"),
        ("/srv/line/edge/relay.py", "edge/relay.py"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "libc.so.6"),
        (f"{SITE}/msgspec/_core.cpython-311-x86_64-linux-gnu.so", "_core.cpython-311-x86_64-linux-gnu.so"),
        ("/tmp/build/Modules/_asynciomodule.c", "_asynciomodule.c"),
        ("<string>", "<string>"),
    ],
)
def test_a_file_is_named_without_the_machine(file: str, shown: str) -> None:
    assert stacks.package_path(file, ROOT) == shown


def test_nothing_sampled_is_nothing_shown() -> None:
    assert stacks.by_layer([]) == {}
    assert stacks.functions([], 3) == []


def test_collapsed_stacks_say_nothing_of_the_machine() -> None:
    written = stacks.collapsed("edge", stacks.parse(f"{RELAY};put (/usr/lib/python3.11/asyncio/queues.py) 7\n", ROOT))

    assert written == (
        "edge;<module> (edge/__main__.py);Runner.run (asyncio/runners.py);Relay.run (edge/relay.py);"
        "put (asyncio/queues.py) 7\n"
    )


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Permission Denied: Try running again with elevated permissions", "ptrace_scope=0"),
        ("Error: Operation not permitted (os error 1)", "ptrace_scope=0"),
        ("Error: Failed to find\n python version", "py-spy failed: Error: Failed to find python version"),
    ],
)
def test_py_spys_refusal_is_told_with_its_cure(said: str, sentence: str) -> None:
    assert sentence in refusal(said)
