"""llama.cpp's HTTP server in a process of its own: `python -m trunkline.llama_server --model FILE --port PORT`.

There is no server binary: the package `xllamacpp` is the server, in native threads. This process only holds it. It
says on stdout when the model is loaded; everything else, the native log too, goes to stderr.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from protocol import process
from trunkline import plain_chat

HOST = "127.0.0.1"
SLOTS = 4  # answers at a time; more wait
CONTEXT_TOKENS = 8192  # shared by the slots: a call of an hour is shorter
QUIET = 1  # of llama.cpp's levels: errors alone; the next ones tell every request
BROKEN = (
    "llama.cpp cannot load {}: the file is broken, cut short, too big for this machine's memory, or of a kind that it "
    "does not know; download it again, or name another with --local-model PATH"
)


def main() -> int:
    """Serve until SIGTERM, which ends the process at once: nothing here needs a farewell."""
    told = _arguments()
    ready = _keep_stdout()
    from xllamacpp import Server

    try:
        server = Server(parameters(told.model, port=told.port, threads=told.threads, plain=told.plain))
    except RuntimeError:  # it has no more to say than its log
        return process.end(process.USAGE, BROKEN.format(told.model))
    print(json.dumps({"event": "ready", "url": server.listening_address, "pid": os.getpid()}), file=ready, flush=True)
    while True:
        signal.pause()


def parameters(model: Path, *, port: int, threads: int, plain: bool) -> Any:
    """What llama.cpp is told. `plain`: the model has no chat template of its own."""
    from xllamacpp import CommonParams

    told = CommonParams()
    told.model.path = str(model)
    told.model_alias = {"local"}
    told.hostnames = [HOST]
    told.port, told.reuse_port = port, True  # our parent holds the port
    told.ui = False
    told.verbosity = QUIET
    told.n_parallel, told.n_ctx, told.kv_unified = SLOTS, CONTEXT_TOKENS, True
    told.cache_ram_mib = 0  # beside what the slots hold it would take gigabytes
    told.cpuparams.n_threads = threads
    if plain:
        told.chat_template = plain_chat.TEMPLATE
        told.antiprompt = [plain_chat.STOP]
        told.n_predict = plain_chat.MAX_TOKENS
        told.sampling.temp = plain_chat.TEMPERATURE
        told.sampling.dry_multiplier = plain_chat.DRY_MULTIPLIER
    return told


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--plain", action="store_true")
    return parser.parse_args()


def _keep_stdout() -> TextIO:
    """Our stdout for the ready line alone: native code that prints there reaches stderr from now on."""
    ours = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return ours


if __name__ == "__main__":
    sys.exit(main())
