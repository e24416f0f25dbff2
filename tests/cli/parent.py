"""A parent with one child, for the tests of what signals do: `python -m tests.cli.parent [deaf]`."""

import asyncio
import json
import os
import signal
import sys

from trunkline.supervisor import Plan, Supervisor, supervise

CHILD = "import json, signal, time\nprint(json.dumps({'ready': True}), flush=True)\ntime.sleep(60)\n"
DEAF_CHILD = f"import signal\nsignal.signal(signal.{signal.SIGTERM.name}, signal.SIG_IGN)\n{CHILD}"


async def run() -> int:
    """Start the child, say its pid, wait for signals."""
    supervisor = Supervisor(restart=True)

    async def start() -> None:
        code = DEAF_CHILD if "deaf" in sys.argv else CHILD
        child = await supervisor.start(Plan("child-0", [sys.executable, "-S", "-c", code], dict(os.environ)))
        print(json.dumps({"child": child.process.pid}), flush=True)

    async def drain() -> int:
        print("draining", flush=True)
        return await supervisor.stop(supervisor.children, grace_s=30)

    return await supervise(supervisor, start, drain)


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
