"""What the workers that were heard mean for the models of this configuration. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from protocol.messages import Here
from protocol.settings import Settings
from trunkline.check.findings import Finding, fail, ok, warn
from trunkline.check.sizes import listed

SECTION = "workers"


class Worker(Struct, frozen=True):
    """One worker as it was last heard, and the pools in which it was."""

    here: Here
    pools: frozenset[str]


class Roll:
    """Who was heard."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    def hear(self, pool: str, here: Here) -> None:
        """Take down what a worker says."""
        before = self._workers.get(here.worker_id)
        pools = (before.pools if before else frozenset()) | {pool}
        self._workers[here.worker_id] = Worker(here, pools)

    @property
    def workers(self) -> list[Worker]:
        return [self._workers[worker_id] for worker_id in sorted(self._workers)]


def judge_workers(settings: Settings, workers: Sequence[Worker], version: str) -> list[Finding]:
    """Each worker, then what they say together."""
    each = [_judge_worker(worker, settings.digest(), version) for worker in workers]
    return [*each, *_odd_pools(workers), *_full_pools(workers), *_unserved(settings, workers)]


def serving(settings: Settings, workers: Sequence[Worker]) -> set[str]:
    """The targets that living workers of this very configuration answer with, so they have the keys."""
    models = {name for worker in workers if worker.here.config == settings.digest() for name in worker.here.models}
    return {target for name in models & settings.models.keys() for target in settings.models[name].targets}


def _judge_worker(worker: Worker, digest: str, version: str) -> Finding:
    here = worker.here
    said = [
        f"{'pool' if len(worker.pools) == 1 else 'pools'} {', '.join(sorted(worker.pools))}",
        f"{here.free} of {here.slots} slots free",
        f"configuration {here.config}",
        f"Trunkline {here.version}" if here.version else "an older Trunkline",
        *(["draining"] if here.draining else []),
    ]
    text = "; ".join(said)
    if here.config != digest:
        cure = f"give `check` the file and environment of that worker, or restart it with these ({digest})"
        return warn(SECTION, here.worker_id, f"{text}: not this configuration", cure)
    if here.version != version:
        return warn(
            SECTION, here.worker_id, f"{text}: not this version ({version})", "update and restart what is older"
        )
    return ok(SECTION, here.worker_id, text)


def _odd_pools(workers: Sequence[Worker]) -> list[Finding]:
    """Workers of one pool that answer differently: which one a turn meets is chance."""
    found = []
    for pool in _pools(workers):
        here = [worker.here for worker in workers if pool in worker.pools and not worker.here.draining]
        configs = sorted({one.config for one in here})
        if len(configs) > 1:
            text = (
                f"its workers have different configurations ({', '.join(configs)}), so turns are answered differently"
            )
            found.append(fail(SECTION, f"pool {pool}", text, "restart the workers that have the old one"))
    return found


def _full_pools(workers: Sequence[Worker]) -> list[Finding]:
    found = []
    for pool in _pools(workers):
        here = [worker.here for worker in workers if pool in worker.pools and not worker.here.draining]
        if here and not any(one.free for one in here):
            cure = "add a worker, or raise worker.slots (TRUNKLINE_WORKER__SLOTS)"
            found.append(warn(SECTION, f"pool {pool}", "no slot is free: new turns wait", cure))
    return found


def _unserved(settings: Settings, workers: Sequence[Worker]) -> list[Finding]:
    """Models of this configuration that no living worker of their pool answers."""
    found = []
    for pool in sorted({model.pool for model in settings.models.values()}):
        wanted = [name for name, model in settings.models.items() if model.pool == pool]
        here = [worker.here for worker in workers if pool in worker.pools and not worker.here.draining]
        unserved = [name for name in wanted if not any(name in one.models for one in here)]
        if not here:
            text = f"no worker takes its jobs, so nobody answers {listed(unserved)}"
            found.append(fail(SECTION, f"pool {pool}", text, f"start one: {_start(pool)}"))
        elif unserved:
            text = f"its workers do not know {listed(unserved)}"
            found.append(fail(SECTION, f"pool {pool}", text, "restart them with this configuration"))
    return found


def _pools(workers: Sequence[Worker]) -> list[str]:
    return sorted({pool for worker in workers for pool in worker.pools})


def _start(pool: str) -> str:
    return "`trunkline worker`" if pool == "default" else f"`trunkline worker --pools {pool}`"
