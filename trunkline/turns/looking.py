"""How a command that looks at a line's streams runs: its lines alone on stdout, and what stops it in a sentence."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine

from protocol import process
from protocol.wire import Disconnected
from trunkline import run_file
from trunkline.listen import UNANSWERED
from trunkline.turns.reading import NoStream


def looked(running: Callable[[], Coroutine[None, None, int]]) -> int:
    """Run it to its end; the exit code."""
    logging.basicConfig(handlers=[logging.NullHandler()])  # nothing else writes between the lines
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that knows ASCII alone
    try:
        return asyncio.run(running())
    except BrokenPipeError:  # whoever read has read enough; nothing more is written, at the exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except NoStream as error:
        cure = "start an edge on it with `trunkline up`, or set TRUNKLINE_NATS__URL or __PREFIX to those of a line"
        return process.end(process.UNREACHABLE, f"{error}; {cure}")
    except process.NoJetStream as error:
        return process.end(process.UNREACHABLE, str(error))
    except Disconnected as error:
        return process.end(process.UNREACHABLE, f"{error}; {run_file.NO_LINE}")
    except UNANSWERED as error:
        said = str(error) or "it did not answer in time"
        return process.end(process.UNREACHABLE, f"JetStream broke off: {said}; try again, or see `trunkline check`")
