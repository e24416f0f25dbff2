"""The image, made by the Dockerfile's own steps: both tiers run from it as compose starts them."""

import asyncio
import re
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench.client import Call
from bench.polling import until
from bench.processes import Family, Process, free_ports
from tests.conftest import StartNats
from tests.deploy import compose
from tests.deploy.dockerfile import Build, Image, send_context

DOCKERFILE = compose.ROOT / "deploy" / "docker" / "Dockerfile"
START_S, STOP_S = 60.0, 30.0
HELLO = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "hello there"}]}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Packages come from where `make setup` has them from."""
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the image's user has to get in
        send_context(compose.ROOT, directory / "context")
        yield Build(DOCKERFILE.read_text(), directory / "context", directory).run()


class Container:
    """One service of docker-compose.yml, run from the image without a container around it."""

    def __init__(self, name: str, image: Image, family: Family, nats_url: str) -> None:
        self._service = compose.services()[name]
        self._image = image
        self.port, self.admin_port = free_ports(2)
        self.env = {
            **image.env,
            **compose.environment(name),
            "PYTHONPATH": "",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",  # no Jaeger here, and no turn is the worse for it
            "TRUNKLINE_NATS__URL": nats_url,
            "TRUNKLINE_EDGE__PORT": str(self.port),
            "TRUNKLINE_ADMIN__PORT": str(self.admin_port),
            "TRUNKLINE_EDGE__LAME_S": "0",
        }
        self.process: Process = family.start(name, image.as_run(self._service["command"]), self.env)

    async def ready(self) -> None:
        """Wait until compose would call it healthy. Raises AssertionError."""
        _, *question, _ = self._service["healthcheck"]["test"]
        asked = [*question, str(self.admin_port)]
        answer = await until(
            lambda: self._ask(asked), lambda code: self.process.exit_code is not None or not code, START_S
        )
        assert answer == 0, self.process.log.read_text()

    async def healthy(self) -> bool:
        """What the image's own HEALTHCHECK says."""
        return await self._ask(self._image.healthcheck) == 0

    async def _ask(self, argv: list[str]) -> int:
        """The exit code of a health check."""
        check = await asyncio.create_subprocess_exec(
            *self._image.as_run(argv), env=self.env, stderr=asyncio.subprocess.DEVNULL
        )
        return await check.wait()


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Family]:
    """Processes that do not outlive the test."""
    made = Family(tmp_path)
    yield made
    assert await made.stop() == []


async def test_both_tiers_answer_are_healthy_write_nothing_and_stop_when_told(
    image: Image, family: Family, start_nats: StartNats
) -> None:
    """Nothing is written: the root may be read-only."""
    nats = start_nats()
    before = image.files()
    worker, edge = (Container(name, image, family, nats.url) for name in ("worker", "edge"))
    await worker.ready()
    await edge.ready()

    key = edge.env["TRUNKLINE_API_KEYS"].partition(":")[2]
    call = await Call.place(
        f"http://127.0.0.1:{edge.port}/v1/chat/completions", HELLO, headers={"Authorization": f"Bearer {key}"}
    )
    answer = await call.ended()
    healthy = [await worker.healthy(), await edge.healthy()]
    edge.process.send(signal.SIGTERM)
    edge_code = await edge.process.exited(STOP_S)
    worker.process.send(signal.SIGTERM)
    worker_code = await worker.process.exited(STOP_S)

    assert (answer.text, answer.done) == ("hello there", True)
    assert healthy == [True, True]
    assert (edge_code, worker_code) == (0, 0), edge.process.log.read_text() + worker.process.log.read_text()
    assert not await edge.healthy()
    assert image.files() == before


async def test_what_the_image_starts_by_itself_is_an_edge_that_wants_keys(image: Image, family: Family) -> None:
    edge = family.start("edge", image.as_run(image.command), {**image.env, "PYTHONPATH": ""})

    assert await edge.exited(START_S) == 2
    assert "TRUNKLINE_API_KEYS" in edge.log.read_text()


def test_the_image_holds_what_is_locked_and_trunkline_and_no_more(image: Image) -> None:
    listing = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    said = subprocess.run(["python", "-c", listing], env=image.env, capture_output=True, text=True, check=True)
    installed = {name.lower().replace("_", "-") for name in said.stdout.split() if not name.startswith("trunkline==")}
    lock = (compose.ROOT / "requirements" / "run.txt").read_text()
    locked = set(re.findall(r"^([\w.-]+==[\w.]+)", lock, re.MULTILINE))

    assert installed
    assert installed <= locked
    assert any(image.root.rglob("edge/__pycache__/*.pyc"))


def test_the_image_is_not_roots(image: Image) -> None:
    uid, gid = image.user.split(":")

    assert int(uid) > 0
    assert int(gid) > 0
