"""Which workers say that they live. Feeds readiness, `no_worker` and metrics; never dispatch or liveness."""

from msgspec import Struct

from protocol.messages import Here

ABSENT_AFTER_S = 3.0


class _Heard(Struct):
    here: Here
    at: float


class Presence:
    """The last `Here` of every worker, pool by pool. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self._pools: dict[str, dict[str, _Heard]] = {}

    def hear(self, pool: str, here: Here, now: float) -> None:
        """Take down what a worker says."""
        self._pools.setdefault(pool, {})[here.worker_id] = _Heard(here, now)

    def forget_old(self, now: float) -> None:
        """Drop workers that have long been silent."""
        for workers in self._pools.values():
            for worker_id in [w for w, heard in workers.items() if now - heard.at > 10 * ABSENT_AFTER_S]:
                del workers[worker_id]

    def living(self, pool: str, now: float) -> list[Here]:
        """Workers of a pool that were heard lately and take jobs."""
        heard = self._pools.get(pool, {}).values()
        return [h.here for h in heard if now - h.at <= ABSENT_AFTER_S and not h.here.draining]

    def serves(self, pool: str, model: str, now: float) -> bool:
        """Whether a living worker of the pool knows `model`, by its name or by a pattern such as `openai/*`."""
        pattern = model.partition("/")[0] + "/*"
        return any(model in here.models or pattern in here.models for here in self.living(pool, now))

    def pools(self) -> list[str]:
        """Every pool that was ever heard of."""
        return sorted(self._pools)
