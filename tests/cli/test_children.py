"""What of the environment each kind of process may see."""

from pathlib import Path

from protocol.settings import parse
from trunkline.children import edge_plans, secretless, worker_plans

ENVIRON = {
    "TRUNKLINE_HOOKS__ELEVENLABS_SECRET_ENV": "WEBHOOK_SECRET",
    "WEBHOOK_SECRET": "wsec_1",
    "TRUNKLINE_API_KEYS": "desk:sk-1",
    "OPENAI_API_KEY": "sk-upstream",
    "PATH": "/bin",
}
SETTINGS = parse(None, ENVIRON)


def test_only_edges_get_what_webhooks_are_signed_with() -> None:
    [edge] = edge_plans(1, SETTINGS, ENVIRON, logs=Path())
    [worker] = worker_plans(1, SETTINGS, ENVIRON, logs=Path())

    assert edge.env["WEBHOOK_SECRET"] == "wsec_1"
    assert "WEBHOOK_SECRET" not in worker.env.keys() | secretless(ENVIRON, SETTINGS).keys()


def test_each_tier_gets_the_keys_that_it_needs_and_no_others() -> None:
    [edge] = edge_plans(1, SETTINGS, ENVIRON, logs=Path())
    [worker] = worker_plans(1, SETTINGS, ENVIRON, logs=Path())

    assert edge.env.keys() & {"TRUNKLINE_API_KEYS", "OPENAI_API_KEY"} == {"TRUNKLINE_API_KEYS"}
    assert worker.env.keys() & {"TRUNKLINE_API_KEYS", "OPENAI_API_KEY"} == {"OPENAI_API_KEY"}
    assert secretless(ENVIRON, SETTINGS) == {"PATH": "/bin"}
