"""Prometheus' and Grafana's files: what they scrape is there, what they ask for is exported."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import AggregateExpr, MatrixSelector, VectorSelector

import edge.app
import workers.admin
from bench.client import Call
from bench.polling import until
from edge import hooks
from edge.response_store import KEPT, READ
from protocol import reload
from protocol.errors import BY_CODE
from protocol.messages import Outcome
from tests.broker.line_fixture import START_S, real_line
from tests.broker.webhooks import HOOKS_ENV, event, send
from tests.deploy import compose
from tests.workers.fake_upstream import Exchange, says, upstream

T = TypeVar("T")
FOLDER = compose.ROOT / "deploy" / "observability"
SERVICES = compose.services()
PROMETHEUS = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
ALERTS = yaml.safe_load((FOLDER / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "grafana" / "dashboards" / "trunkline.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
OF_EVERY_SAMPLE = {"job", "instance"}  # Prometheus adds them
PROMISED = {  # design section 13
    "trunkline_turns_total",
    "trunkline_turn_first_content_seconds_bucket",
    "trunkline_generations_live",
    "trunkline_slots_free",
    "trunkline_queue_depth",
    "trunkline_cancel_seconds_bucket",
    "trunkline_frames_fenced_total",
    "trunkline_offers_total",
}


def queries() -> dict[str, str]:
    """Every PromQL expression by where it stands."""
    alerts = {rule["alert"]: rule["expr"] for rule in ALERTS}
    panels = {f"{panel['title']}, {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
    return {where: expr.replace("$__rate_interval", "1m") for where, expr in (alerts | panels).items()}


def parts(expr: str, kind: type[T]) -> list[T]:
    """The parts of an expression that are of one kind. Raises ValueError: it is no PromQL."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expr), found.append)
    return [part for part in found if isinstance(part, kind)]


def labels_asked(expr: str) -> set[str]:
    """Those that it selects or groups by."""
    chosen = {match.name for metric in parts(expr, VectorSelector) for match in metric.matchers.matchers}
    groups = [part.modifier for part in parts(expr, AggregateExpr) if part.modifier]
    return chosen.union(*(group.labels for group in groups))


CASCADE = """
[breaker]
requests = 1

[models.front-desk]
targets = ["broken", "well"]

[targets.broken]
base_url = "{url}"
model = "broken"

[targets.well]
base_url = "{url}"
model = "well"
prices = {{ input = 1.0, output = 2.0 }}
"""


async def broken_or_well(exchange: Exchange) -> None:
    """As its model says; well, but for one line that nobody can read."""
    if exchange.json["model"] == "broken":
        await exchange.plain(500, "{}")
        return
    await exchange.begin()
    await exchange.send("data: nonsense\n\n" + says("Hello."))
    await exchange.end()


async def exported(directory: Path) -> dict[str, set[str]]:
    """Every sample of a real edge and a real worker after some turns, a refusal and a webhook, with its labels."""
    async with upstream(broken_or_well) as fake, real_line(directory, env=HOOKS_ENV) as line:
        config = directory / "trunkline.toml"
        config.write_text(CASCADE.format(url=fake.url))
        of_the_line = {"TRUNKLINE_CONFIG": str(config)}
        edge, worker = line.add("edge", of_the_line), line.add("worker", of_the_line)
        await line.ready()
        for model in ("unknown", "echo", "front-desk", "front-desk"):
            body = {"model": model, "messages": [{"role": "user", "content": "hello there"}]}
            await (await Call.place(f"{edge.url}/v1/chat/completions", body)).ended()
        await send(edge.url, event())
        said = await until(edge.metrics, lambda text: "trunkline_turns_total{" in text, START_S)
        said += await until(worker.metrics, lambda text: "trunkline_targets_skipped_total{" in text, START_S)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def test_whatever_an_alert_or_a_panel_asks_for_is_exported(tmp_path: Path) -> None:
    known = {**await exported(tmp_path), **OF_PROMETHEUS}

    for where, expr in queries().items():
        names = {str(metric.name) for metric in parts(expr, VectorSelector)}
        assert names <= known.keys(), where
        assert labels_asked(expr) <= OF_EVERY_SAMPLE.union(*(known[name] for name in names)), where


def test_only_outcomes_and_jobs_that_exist_are_selected() -> None:
    metrics = [metric for expr in queries().values() for metric in parts(expr, VectorSelector)]
    matches = [match for metric in metrics for match in metric.matchers.matchers]
    values = {(match.name, value) for match in matches for value in match.value.split("|")}
    jobs = {job["job_name"] for job in PROMETHEUS["scrape_configs"]}

    known = {*get_args(Outcome), *reload.OUTCOMES, *get_args(hooks.Outcome), *KEPT, *READ, *BY_CODE}
    assert {value for name, value in values if name == "outcome"} <= known
    assert {value for name, value in values if name == "job"} <= jobs


def test_the_dashboard_shows_every_metric_that_was_promised() -> None:
    shown = {
        metric.name
        for where, expr in queries().items()
        if where not in {rule["alert"] for rule in ALERTS}
        for metric in parts(expr, VectorSelector)
    }

    assert shown >= PROMISED


def test_counters_are_rates_and_gauges_are_not() -> None:
    """A counter by itself only says how long its process has run."""
    for where, expr in queries().items():
        over_time = {part.vector_selector.name for part in parts(expr, MatrixSelector)}
        for metric in parts(expr, VectorSelector):
            assert (metric.name in over_time) == str(metric.name).endswith(("_total", "_bucket")), where


def test_prometheus_scrapes_every_container_of_both_tiers_on_its_admin_port() -> None:
    scraped = {job["job_name"]: job["dns_sd_configs"][0] for job in PROMETHEUS["scrape_configs"]}

    assert {name: (found["names"], found["port"]) for name, found in scraped.items()} == {
        "edge": (["edge"], edge.app.ADMIN_PORT),
        "worker": (["worker"], workers.admin.ADMIN_PORT),
    }
    for name in scraped:
        assert {*SERVICES[name]["networks"]} & {*SERVICES["prometheus"]["networks"]}


def test_prometheus_finds_its_files_where_compose_mounts_them() -> None:
    mounts = compose.mounts(SERVICES["prometheus"])

    assert mounts["/etc/prometheus"] == FOLDER / "prometheus"
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
    assert [(FOLDER / "prometheus" / name).exists() for name in PROMETHEUS["rule_files"]] == [True]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "cure"}
    assert rule["annotations"]["cure"].endswith(".")


def test_grafana_finds_its_files_where_compose_mounts_them() -> None:
    mounts = compose.mounts(SERVICES["grafana"])
    provider = yaml.safe_load((FOLDER / "grafana" / "provisioning" / "dashboards" / "trunkline.yml").read_text())
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

    assert provider["providers"][0]["options"]["path"] == str(home.parent)
    assert (mounts[str(home.parent)] / home.name).exists()
    for kind in ("dashboards", "datasources"):
        assert mounts[f"/etc/grafana/provisioning/{kind}"] == FOLDER / "grafana" / "provisioning" / kind


def test_every_panel_has_a_data_source_that_is_provisioned_and_compose_runs() -> None:
    said = yaml.safe_load((FOLDER / "grafana" / "provisioning" / "datasources" / "trunkline.yml").read_text())
    sources = {source["uid"]: source for source in said["datasources"]}
    used = [part["datasource"] for panel in PANELS for part in (panel, *panel["targets"])]

    assert {(one["type"], one["uid"]) for one in used} == {("prometheus", "prometheus")}
    assert {re.split(r"[/:]+", source["url"])[1] for source in sources.values()} <= SERVICES.keys()
    assert sources["prometheus"]["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_panels_are_told_apart_explained_in_units_and_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        units = [panel["fieldConfig"]["defaults"].get("unit"), *re.findall(r'"id": "unit"', json.dumps(panel))]
        assert panel["description"], panel["title"]
        assert any(units), panel["title"]
