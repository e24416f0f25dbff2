"""What the workers that were heard mean for the models of this configuration. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from protocol.messages import Here
from protocol.settings import Settings
from trunkline.check.findings import Finding, fail, ok, warn
from trunkline.check.sizes import listed, number

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


def judge_workers(
    settings: Settings, workers: Sequence[Worker], version: str, pids: Sequence[int] = ()
) -> list[Finding]:
    """Each worker, then what they say together. `pids`: the edges and workers of the line that runs here."""
    reload = f"`kill -HUP {' '.join(map(str, pids))}`" if pids else "`kill -HUP` its process"
    each = [_judge_worker(worker, settings.digest(), version, reload) for worker in workers]
    together = [*_odd_pools(workers, reload), *_full_pools(workers), *_unserved(settings, workers, reload)]
    return [*each, *together, *_open_targets(workers)]


def serving(settings: Settings, workers: Sequence[Worker]) -> set[str]:
    """The targets that living workers of this very configuration answer with, so they have the keys."""
    models = {name for worker in workers if worker.here.config == settings.digest() for name in worker.here.models}
    return {target for name in models & settings.models.keys() for target in settings.models[name].targets}


def _judge_worker(worker: Worker, digest: str, version: str, reload: str) -> Finding:
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
        cure = (
            f"{reload} has it read its file again; else give `check` that worker's file and environment, or restart it "
            f"with these ({digest})"
        )
        return warn(SECTION, here.worker_id, f"{text}: not this configuration", cure)
    if here.version != version:
        return warn(
            SECTION, here.worker_id, f"{text}: not this version ({version})", "update and restart what is older"
        )
    return ok(SECTION, here.worker_id, text)


def _odd_pools(workers: Sequence[Worker], reload: str) -> list[Finding]:
    """Workers of one pool that answer differently: which one a turn meets is chance."""
    found = []
    for pool in _pools(workers):
        here = [worker.here for worker in workers if pool in worker.pools and not worker.here.draining]
        configs = sorted({one.config for one in here})
        if len(configs) > 1:
            text = (
                f"its workers have different configurations ({', '.join(configs)}), so turns are answered differently"
            )
            cure = f"have those with the old one read theirs again ({reload}), or restart them"
            found.append(fail(SECTION, f"pool {pool}", text, cure))
    return found


def _full_pools(workers: Sequence[Worker]) -> list[Finding]:
    found = []
    for pool in _pools(workers):
        here = [worker.here for worker in workers if pool in worker.pools and not worker.here.draining]
        if here and not any(one.free for one in here):
            cure = "add a worker, or raise worker.slots (TRUNKLINE_WORKER__SLOTS)"
            found.append(warn(SECTION, f"pool {pool}", "no slot is free: new turns wait", cure))
    return found


def _unserved(settings: Settings, workers: Sequence[Worker], reload: str) -> list[Finding]:
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
            cure = f"have them read this configuration ({reload}), or restart them with it"
            found.append(fail(SECTION, f"pool {pool}", text, cure))
    return found


def _open_targets(workers: Sequence[Worker]) -> list[Finding]:
    """Targets that failed so often that workers pass them over."""
    found = []
    for target in sorted({target for worker in workers for target in worker.here.open}):
        ids = [worker.here.worker_id for worker in workers if target in worker.here.open]
        text = f"its circuit breaker is open in {len(ids)} of {number(len(workers), 'worker')} ({listed(ids)})"
        cure = "see the upstream's own state; turns pass it over where another target is left, and soon try it again"
        found.append(warn(SECTION, f"target {target}", text, cure))
    return found


def _pools(workers: Sequence[Worker]) -> list[str]:
    return sorted({pool for worker in workers for pool in worker.pools})


def _start(pool: str) -> str:
    return "`trunkline worker`" if pool == "default" else f"`trunkline worker --pools {pool}`"
