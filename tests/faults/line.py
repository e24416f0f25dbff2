"""One line for all scenarios: real processes, one model for each scenario, and the fault upstream behind them."""

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from tests.broker.line_fixture import RealLine, real_line
from tests.faults.faults import ACTS, BLACK_HOLE, NOWHERE
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.upstream import FaultUpstream, fault_upstream
from tests.tcp import listening

BUDGET_S, FIRST_CONTENT_S, STALL_S, CONNECT_S = 5.0, 1.0, 1.0, 0.5
INPUT_PRICE, OUTPUT_PRICE = 1.0, 4.0  # per million tokens
KEY = "sk-faults-7d"
ENV = {
    "TRUNKLINE_TURN__BUDGET_S": str(BUDGET_S),
    "TRUNKLINE_EDGE__HEADERS_AFTER_S": "10",  # later than any scenario: a failure before the first word is a status
    "FAULTS_KEY": KEY,
}
GOES_ON = {"TRUNKLINE_TURN__ON_LOST": "continue"}


@asynccontextmanager
async def faults_line(
    directory: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[RealLine, FaultUpstream]]:
    """Two edges: a lost turn ends on the first, and goes on on the second. One worker, which sees every failure.

    Each target has a port of its own, so that no connection is ever one that another scenario has left behind.
    """
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(fault_upstream(ACTS))
        ports = {NOWHERE: stack.enter_context(nowhere()), BLACK_HOLE: stack.enter_context(black_hole())}
        tables = []
        for scenario in SCENARIOS:
            for fault, _ in scenario.targets:
                port = ports.get(fault)
                if port is None:
                    port = await stack.enter_async_context(listening(upstream.serve))
                tables.append(_target(scenario, fault, port))
            tables.append(_model(scenario))
        config = directory / "trunkline.toml"
        config.write_text("\n".join(tables))
        line = await stack.enter_async_context(
            real_line(directory, env={**ENV, **(env or {}), "TRUNKLINE_CONFIG": str(config)})
        )
        line.add("edge")
        line.add("edge", GOES_ON)
        line.add("worker")
        await line.ready()
        yield line, upstream


def target_name(scenario: Scenario, fault: str) -> str:
    return f"{scenario.name}.{fault}"


def _model(scenario: Scenario) -> str:
    names = [target_name(scenario, fault) for fault, _ in scenario.targets]
    return f'[models."{scenario.name}"]\ntargets = {names}\n'


def _target(scenario: Scenario, fault: str, port: int) -> str:
    dialect = dict(scenario.targets)[fault]
    more = scenario.told.settings if fault == scenario.fault else ""
    return f"""
        [targets."{target_name(scenario, fault)}"]
        dialect = "{dialect}"
        base_url = "http://127.0.0.1:{port}/{fault}/{scenario.name}/v1"
        model = "faults-1"
        api_key_env = "FAULTS_KEY"
        connect_s = {CONNECT_S}
        first_content_s = {FIRST_CONTENT_S}
        stall_s = {STALL_S}
        {more}
        prices = {{ input = {INPUT_PRICE}, output = {OUTPUT_PRICE} }}
        """


@contextmanager
def nowhere() -> Iterator[int]:
    """A port that is taken, so that nobody gets it, and on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """A port whose queue of connections is full: whoever connects waits for ever."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            yield address[1]
        finally:
            for one in waiting:
                one.close()
