"""docker-compose.yml tied to what it starts, without a compose engine: settings, ports, files, signals, secrets."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import edge.app
import workers.admin
from bench.client import fetch
from bench.polling import until
from bench.processes import Family, free_ports
from protocol.settings import VARIABLES, Settings, SettingsError, check_exposure, load
from protocol.settings_source import PREFIX
from tests.deploy import compose
from tests.deploy.dockerfile import IMAGE_ENV
from trunkline.children import edge_grace_s, worker_grace_s
from trunkline.nats_server import binary, info

SERVICES = compose.services()
TIERS = ("edge", "worker")
CONTAINERS_OWN = {  # where it listens, as others know it, which files it has, and its bus: 127.0.0.1 is not ours there
    "TRUNKLINE_NATS__URL",
    *("TRUNKLINE_EDGE__HOST", "TRUNKLINE_EDGE__PORT", "TRUNKLINE_ADMIN__HOST", "TRUNKLINE_ADMIN__PORT"),
    *("TRUNKLINE_CONFIG", "TRUNKLINE_DATA_DIR", "TRUNKLINE_TELEMETRY__TRACES_FILE"),
    "TRUNKLINE_EDGE__PROCESSES",  # each has an admin port of its own, and Prometheus asks one in a container
}
OF_ONE_TIER = {"TRUNKLINE_EDGE": {"edge"}, "TRUNKLINE_API_KEYS": {"edge"}, "TRUNKLINE_WORKER": {"worker"}}
CADDYFILE = (compose.ROOT / "deploy" / "proxy" / "Caddyfile").read_text()


def settings_of(tier: str, environ: dict[str, str] | None = None) -> Settings:
    """What a container of a tier makes of its environment."""
    return load({**IMAGE_ENV, **compose.environment(tier, environ)})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no trunkline.toml lies."""
    monkeypatch.chdir(tmp_path)


def memory_bytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(M|G|MB|GB|MiB)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"M": 2**20, "MiB": 2**20, "G": 2**30, "MB": 10**6, "GB": 10**9}[unit]


@pytest.mark.parametrize("tier", TIERS)
def test_every_variable_of_a_tier_is_a_known_setting(tier: str) -> None:
    settings = settings_of(tier)

    assert settings.nats.url == "nats://nats:4222"
    assert settings.admin.host == "0.0.0.0"
    assert (settings.edge.port, settings.admin.port) == (8080, None)


def test_an_edge_is_reached_by_other_containers_and_a_worker_by_no_caller() -> None:
    """So `trunkline check` in a worker's container does not ask for the keys that only edges have."""
    assert settings_of("edge").edge.host == "0.0.0.0"
    check_exposure(settings_of("worker"))


@pytest.mark.parametrize("variable", sorted(VARIABLES - CONTAINERS_OWN))
def test_every_setting_that_is_not_the_containers_own_reaches_its_tiers(variable: str) -> None:
    tiers = {tier for tier in TIERS if compose.environment(tier, {variable: "said"}).get(variable) == "said"}

    assert tiers == OF_ONE_TIER.get(variable.partition("__")[0], set(TIERS))


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_said_nowhere_outside_is_left_to_the_file(tier: str, tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(
        '[turn]\non_lost = "continue"\n[worker]\nslots = 3\n[telemetry]\nlog_level = "debug"\n'
    )
    settings = settings_of(tier)

    assert (settings.turn.on_lost, settings.worker.slots, settings.telemetry.log_level) == ("continue", 3, "debug")
    assert settings_of(tier, {"TRUNKLINE_TURN__ON_LOST": "finish"}).turn.on_lost == "finish"


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_empty_outside_counts_as_not_set(tier: str) -> None:
    """`.env` with names and no values."""
    assert settings_of(tier, dict.fromkeys(VARIABLES, "")) == settings_of(tier)


def test_an_upstream_that_is_named_outside_reaches_both_tiers() -> None:
    said = {"TRUNKLINE_UPSTREAM__URL": "http://host.docker.internal:11434/v1", "TRUNKLINE_UPSTREAM__MODEL": "llama3.2"}

    both = [settings_of(tier, said) for tier in TIERS]

    assert [settings.targets["upstream"].base_url for settings in both] == [said["TRUNKLINE_UPSTREAM__URL"]] * 2
    assert both[0].digest() == both[1].digest()


def test_a_variable_for_compose_alone_is_not_called_like_a_setting() -> None:
    """Whoever has one in the environment or in .env can still start `trunkline up`."""
    names = compose.variables().union(*(SERVICES[tier]["environment"] for tier in TIERS))

    assert {name for name in names if name.startswith(PREFIX)} <= VARIABLES


def test_callers_have_a_key_and_their_own_one_replaces_it() -> None:
    check_exposure(settings_of("edge"))
    assert settings_of("edge").api_keys == {"local": "local"}
    assert settings_of("edge", {"TRUNKLINE_API_KEYS": "me:s3cret"}).api_keys == {"me": "s3cret"}
    assert settings_of("worker", {"TRUNKLINE_API_KEYS": "me:s3cret"}).api_keys == {}
    with pytest.raises(SettingsError, match="TRUNKLINE_API_KEYS"):
        check_exposure(load({**IMAGE_ENV, "TRUNKLINE_API_KEYS": ""}))


def test_only_workers_get_the_keys_of_upstreams() -> None:
    with_files = {name for name, service in SERVICES.items() if "env_file" in service}
    with_keys = {name for name, service in SERVICES.items() for key in service.get("environment", ()) if "KEY" in key}

    assert with_files == {"worker"}
    assert with_keys <= {"edge", "worker", "tls"}
    assert [key for key in SERVICES["worker"]["environment"] if "KEY" in key] == ["TRUNKLINE_UPSTREAM__KEY_ENV"]


@pytest.mark.parametrize(("tier", "grace_s"), [("edge", edge_grace_s), ("worker", worker_grace_s)])
def test_a_drain_is_over_before_it_would_be_killed(tier: str, grace_s: Any) -> None:
    """An engine kills after ten seconds, unless it is told otherwise."""
    assert compose.seconds(SERVICES[tier]["stop_grace_period"]) > grace_s(settings_of(tier))


def test_the_proxy_waits_for_the_streams_that_the_edges_let_finish() -> None:
    proxy_s = compose.seconds(re.search(r"grace_period (\w+)", CADDYFILE)[1])  # type: ignore[index]

    assert edge_grace_s(settings_of("edge")) < proxy_s < compose.seconds(SERVICES["tls"]["stop_grace_period"])


def test_what_is_stopped_first_still_has_what_it_needs() -> None:
    """Services stop in the opposite order of what they depend on."""
    needs = {name: set(SERVICES[name].get("depends_on", ())) for name in ("tls", "edge", "worker")}

    assert needs == {"tls": {"edge"}, "edge": {"nats", "worker"}, "worker": {"nats"}}


def test_each_tier_is_asked_on_its_own_admin_port() -> None:
    ports = {tier: SERVICES[tier]["healthcheck"]["test"][-1] for tier in TIERS}

    assert ports == {"edge": str(edge.app.ADMIN_PORT), "worker": str(workers.admin.ADMIN_PORT)}


def test_nothing_but_the_proxy_can_be_reached_from_other_machines() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}

    assert published.pop("tls") == ["80:80", "443:443"]
    assert [port for ports in published.values() for port in ports if not port.startswith("127.0.0.1:")] == []
    assert published["nats"] == published["worker"] == []


def test_nats_is_reached_by_the_tiers_alone() -> None:
    on_the_bus = {name for name, service in SERVICES.items() if "bus" in service["networks"]}

    assert on_the_bus == {"nats", "edge", "worker"}
    assert SERVICES["tls"]["networks"] == ["front"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_contained(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"memory", "pids"} <= limits.keys()
    assert "build" in service or not service["image"].endswith((":latest", ":local"))


def test_every_folder_and_file_that_is_mounted_is_there() -> None:
    missing = [path for service in SERVICES.values() for path in compose.mounts(service).values() if not path.exists()]

    assert missing == []


def test_the_example_for_the_mounted_folder_is_a_configuration() -> None:
    folder = compose.mounts(SERVICES["edge"])["/etc/trunkline"]

    assert "front-desk" in load(compose.environment("worker"), config=folder / "trunkline.example.toml").models


def test_nats_has_more_memory_than_jetstream_may_take() -> None:
    conf = compose.mounts(SERVICES["nats"])["/etc/nats/nats.conf"].read_text()
    store = memory_bytes(re.search(r"max_memory_store: (\w+)", conf)[1])  # type: ignore[index]
    soft = memory_bytes(SERVICES["nats"]["environment"]["GOMEMLIMIT"])

    assert store < soft < memory_bytes(SERVICES["nats"]["deploy"]["resources"]["limits"]["memory"])


async def test_nats_starts_as_compose_starts_it_and_is_healthy_as_compose_asks(tmp_path: Path) -> None:
    service = SERVICES["nats"]
    port, monitor = free_ports(2)
    conf = compose.mounts(service)["/etc/nats/nats.conf"]
    here = {"/etc/nats/nats.conf": str(conf), "/data": str(tmp_path), "0.0.0.0": "127.0.0.1"}
    here |= {"nats-server": binary(), "4222": str(port), "8222": str(monitor)}
    question = service["healthcheck"]["test"][-1].replace("8222", str(monitor))
    family = Family(tmp_path)
    family.start("nats", [here.get(word, word) for word in service["command"]])

    async def health() -> int:
        try:
            return (await fetch(question))[0]
        except OSError:
            return 0

    try:
        status = await until(health, lambda status: status == 200, 20.0)
        said = await info("127.0.0.1", port)
    finally:
        await family.stop()

    assert status == 200
    assert said["jetstream"]
    assert (tmp_path / "jetstream").is_dir()


@pytest.mark.parametrize(("keys", "code"), [("", 2), ("me:s3cret", 0)])
def test_the_world_is_not_let_in_with_the_key_that_everybody_knows(tmp_path: Path, keys: str, code: int) -> None:
    caddy = tmp_path / "caddy"
    caddy.write_text('#!/bin/sh\necho "$@"\n')
    caddy.chmod(0o755)
    service = compose.services({"TRUNKLINE_API_KEYS": keys})["tls"]
    env = {**service["environment"], "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    said = subprocess.run(service["command"], env=env, capture_output=True, text=True, check=False)

    assert said.returncode == code
    assert ("TRUNKLINE_API_KEYS is not set" in said.stderr) == (code == 2)
    assert ("run --config /etc/caddy/Caddyfile" in said.stdout) == (code == 0)
    assert "s3cret" not in str(service)


def test_the_proxy_passes_every_token_on_and_every_hang_up() -> None:
    """Caddy 2.6 with `flush_interval -1` read on for seconds after its client had left; an encoder collects tokens."""
    rules = "\n".join(line.partition("#")[0] for line in CADDYFILE.splitlines())

    assert "flush_interval" not in rules
    assert "encode" not in rules
    assert "dynamic a edge 8080" in rules
