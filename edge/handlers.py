"""HTTP in: read the body, pick the dialect, hand over to the relay; models, health, readiness."""

import asyncio
import logging
import time
from collections.abc import Callable

import orjson
from aiohttp import web

from edge import docs_page, paths
from edge.answers import BodyAnswer, StreamAnswer, error_response
from edge.asked import Asked, AskedT, to_job
from edge.bus import EdgeBus
from edge.call_turn import CallTurn
from edge.cors import Cors
from edge.endings import ending_for, is_text
from edge.front import Answering, ChatFront, Front
from edge.guard import guard_for
from edge.hooks import Hooks
from edge.identity import budget_s_of, call_id_of
from edge.keys import Keys
from edge.live_turns import LiveTurns
from edge.metrics import Metrics
from edge.middleware import PLACE, TURN_ID, Handler, by_place, contract, get, with_cors
from edge.profile_choice import Choice, Chosen, call_id_cure
from edge.records import Records
from edge.relay import Relay
from edge.request_body import BODY_BYTES, read_body
from edge.response_store import ResponseStore
from edge.responses_api import Elsewhere, ResponsesApi
from edge.state import CallStates
from edge.turn import Turn
from edge.watch import Clock, TurnWatch
from protocol import telemetry
from protocol.errors import Interrupted, ModelNotFound, ServiceError
from protocol.messages import Heard, Job
from protocol.settings import Settings
from protocol.settings_types import PASS_THROUGH
from protocol.settings_voice import strangers
from protocol.spans import Spans

log = logging.getLogger(__name__)

PATTERN = "/*"
WARM_EVERY_S = 1.0  # for each pool
CALL_ID_HEADER = "x-trunkline-call-id"
CALL_ID_FROM_BODY = web.RequestKey("call_id_from_body", str)


class Edge:
    """The handlers of one edge process, and what they share."""

    def __init__(
        self,
        settings: Settings,
        bus: EdgeBus,
        *,
        spans: Spans,
        metrics: Metrics,
        records: Records,
        tasks: asyncio.TaskGroup,
        hooks: Hooks | None = None,
        states: CallStates | None = None,
        store: ResponseStore | None = None,
        elsewhere: Elsewhere | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._spans = spans
        self._metrics = metrics
        self._records = records
        self._tasks = tasks
        self._hooks = hooks
        self._states = states
        self._calls: dict[Relay, CallTurn] = {}
        self._keys = Keys(settings.api_keys, settings.edge.key_headers)
        self._nameless: set[tuple[str, str]] = set()  # tenants and profiles whose turns came without a call id
        self._now = now
        self._clock = Clock(self._now)
        self._created = int(time.time())
        self.draining = False
        self._live = LiveTurns(self._now)
        self._chat = ChatFront()
        self.responses = ResponsesApi(self, self._live, store, elsewhere) if store is not None else None
        self._settling: set[asyncio.Task[None]] = set()
        self._warmed: dict[str, float] = {}  # pool -> when its workers were told last
        self._choose_by(settings)

    def follow(self, settings: Settings) -> None:
        """Admit turns by these settings from now on; those that run keep what they began with."""
        self._settings = settings
        self._choose_by(settings)
        self._bus.watch(model.pool for model in settings.models.values())

    def _choose_by(self, settings: Settings) -> None:
        """Make each profile whole once, not once a turn."""
        self._choice = Choice(settings)
        for sentence in strangers(settings):
            log.warning("%s", sentence)

    def app(self) -> web.Application:
        """The public application."""
        cors = Cors(origins) if (origins := self._settings.edge.cors_origins) else None
        app = web.Application(middlewares=[contract], client_max_size=BODY_BYTES)
        app.add_routes([by_place(self.routes(), cors)])
        if cors:
            app.on_response_prepare.append(with_cors(cors))
        return app

    def routes(self) -> dict[str, dict[str, Handler]]:
        """A route as `edge.paths` names it, or another path as it is -> method -> handler."""
        return {
            paths.CHAT: {"POST": self.chat_completions},
            **(self.responses.routes() if self.responses else {}),
            paths.MODELS: get(self.models),
            paths.MODEL: get(self.model),
            "/health": get(health),
            "/ready": get(self.ready),
            **(self._hooks.routes() if self._hooks else {}),
            **docs_page.routes(self._settings),
        }

    # --- turns ---------------------------------------------------------------------------------------

    async def chat_completions(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        return await self.turn(request, self._chat)

    async def turn(self, request: web.Request, front: Front[AskedT]) -> web.StreamResponse:
        """Answer one turn, in the dialect of `front`."""
        began = self._now()
        turn_id = request[TURN_ID]
        watch = TurnWatch(
            self._spans,
            self._metrics,
            name=f"POST {request[PLACE].route}",
            context=telemetry.context_of(request.headers),
            began=began,
            clock=self._clock,
            output_price=self._output_price,
            extras=self._settings.telemetry.extras,
        )
        headers = {"x-request-id": turn_id, "x-trace-id": watch.trace_id}
        try:
            asked, job, pool, chosen = await self._admit(request, turn_id, front)
        except ServiceError as error:
            return self._refused(request, watch, headers, error)
        except (asyncio.CancelledError, ConnectionError):
            self._refused(request, watch, headers, Interrupted("the client hung up before its request was read"))
            raise
        watch.admitted(job, self._now(), stream=asked.stream)
        if job.call_id:
            headers[CALL_ID_HEADER] = job.call_id
        else:
            self._miss_call_id(job.tenant, chosen)
        answering = front.answering(asked, job, int(time.time()))
        return await self._relay(request, asked, job, pool, chosen, watch, headers, began, answering)

    def _refused(
        self, request: web.Request, watch: TurnWatch, headers: dict[str, str], error: ServiceError
    ) -> web.Response:
        """The answer to a request that becomes no turn; it belongs to its call all the same."""
        if call_id := self._call_id(request, request.get(CALL_ID_FROM_BODY)):
            headers[CALL_ID_HEADER] = call_id
        response = error_response(error, headers)
        watch.refused(request[TURN_ID], error, response.status, self._now(), call_id=call_id)
        return response

    def tenant(self, request: web.Request) -> str:
        """Whose request it is. Raises NoKey, InvalidKey."""
        return self._keys.tenant_of(request.headers, request[PLACE].secret)

    def _call_id(self, request: web.Request, from_body: str | None) -> str | None:
        return call_id_of(
            request.headers,
            self._settings.turn.call_id_headers,
            from_body,
            from_path=request[PLACE].call_id,
            query=request.query,
        )

    def _miss_call_id(self, tenant: str, chosen: Chosen) -> None:
        """Say once of each tenant and profile that its turns cannot be told apart by call."""
        if (tenant, chosen.name) not in self._nameless:
            self._nameless.add((tenant, chosen.name))
            cure = call_id_cure(chosen.platform)
            log.info("turns come without a call id: %s", cure, extra={"tenant": tenant, "profile": chosen.name})

    async def _admit(self, request: web.Request, turn_id: str, front: Front[AskedT]) -> tuple[AskedT, Job, str, Chosen]:
        """Auth, body, model, profile. Raises ServiceError."""
        tenant = self.tenant(request)
        asked = await front.asked(await read_body(request), tenant)
        request[CALL_ID_FROM_BODY] = asked.call_id_from_body or ""
        pool = self._pool_of(asked.model)
        model = self._settings.model_for(asked.model)
        chosen = self._choice.of(
            asked, from_path=request[PLACE].profile, headers=request.headers, tenant=tenant, model=model
        )
        job = to_job(
            asked,
            turn_id=turn_id,
            tenant=tenant,
            call_id=self._call_id(request, asked.call_id_from_body),
            budget_ms=int(budget_s_of(request.headers, chosen.budget_s) * 1000),
            total_ms=int(self._settings.turn.total_s * 1000),
            on_lost=chosen.on_lost,
            chosen=chosen,
            model_language=model.language if model else None,
            gated=self._settings.tools,
        )
        return asked, job, pool, chosen

    async def _relay(
        self,
        request: web.Request,
        asked: Asked,
        job: Job,
        pool: str,
        chosen: Chosen,
        watch: TurnWatch,
        headers: dict[str, str],
        began: float,
        answering: Answering,
    ) -> web.StreamResponse:
        speaks = asked.stream and is_text(job)
        finish_text = self._settings.turn.finish_text
        ending = ending_for(chosen.profile, job, speaks=speaks, finish_text=finish_text)
        turn = Turn(on_lost=job.on_lost, finish_text=finish_text, stream=asked.stream, ending=ending)
        answer = (StreamAnswer if asked.stream else BodyAnswer)(
            request, answering.dialect, turn, headers, answering.keeper
        )
        guard = guard_for(chosen.profile, job, began=began, speaks=speaks) if asked.stream else None
        relay = Relay(self._bus, pool, job, turn, answer, watch, began=began, pace=chosen, now=self._now, guard=guard)
        relay.inbox.on_overflow = answer.abort
        if self.draining:
            answer.response.force_close()  # the next turn finds an edge that stays
        self._remember(relay, job, turn, chosen, watch)
        self._live.begin(relay, answering.dialect)
        self._metrics.live.inc()
        try:
            await relay.run()
        finally:
            self._live.over(relay)
            self._metrics.live.dec()
            self._end(relay)
        if self.draining:
            answer.response.force_close()
        return answer.response

    async def drain(self, drain_s: float) -> bool:
        """Let the live turns finish for `drain_s` seconds, then end them. True: all finished by themselves."""
        return await self._live.drain(drain_s)

    async def settled(self) -> None:
        """Return once every ended turn is written down."""
        while self._settling:
            await asyncio.wait(self._settling)

    def _end(self, relay: Relay) -> None:
        """Write the turn down: now, or once its claim has said what it cost. Its call's next turn may come sooner."""
        heard = self._call_goes_on(relay)
        if relay.over:
            self._write_down(relay, heard)
        else:
            settling = self._tasks.create_task(self._settle(relay, heard), name="settle")
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)

    async def _settle(self, relay: Relay, heard: Heard | None) -> None:
        try:
            await relay.settle()
        except Exception:
            log.exception("a turn could not be settled")
        self._write_down(relay, heard)

    def _remember(self, relay: Relay, job: Job, turn: Turn, chosen: Chosen, watch: TurnWatch) -> None:
        """Have the turn know its call, where there is one and its profile needs that."""
        if self._states is not None and job.call_id and not chosen.is_plain:
            self._calls[relay] = CallTurn(self._states, job.call_id, job, turn, watch, relay.know)

    def _call_goes_on(self, relay: Relay) -> Heard | None:
        """Tell its call of the turn; what that has shown of the turn before."""
        call = self._calls.pop(relay, None)
        try:
            return call.over() if call is not None else None
        except Exception:
            log.exception("a call could not be written down")
            return None

    def _write_down(self, relay: Relay, heard: Heard | None) -> None:
        try:
            self._records.put(relay.record())
            if heard is not None:
                self._metrics.cut()
                self._records.put(heard)
        except Exception:
            log.exception("a turn could not be written down")

    def _output_price(self, target: str) -> float | None:
        found = self._settings.targets.get(target)
        return found.prices.output if found is not None and found.prices is not None else None

    def _pool_of(self, name: str) -> str:
        """Raises ModelNotFound."""
        model = self._settings.model_for(name) if not name.endswith(PATTERN) else None
        if model is not None:
            return model.pool
        now = self._now()
        if name.startswith(PASS_THROUGH) and name != PASS_THROUGH and not name.endswith(PATTERN):
            # The key that makes these lives with the workers alone: they say whether they have it.
            for pool in self._bus.presence.pools():
                if self._bus.presence.serves(pool, name, now):
                    return pool
        known = ", ".join(self._names()) or "none; configure one under [models]"
        raise ModelNotFound(f"no model {_shown(name)}; known: {known}", param="model")

    # --- models, health ------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        return [name for name in self._settings.models if not name.endswith(PATTERN)]

    def _entry(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "trunkline"}

    async def models(self, request: web.Request) -> web.Response:
        """GET /v1/models: for LiveKit's agents, and others, the sign that a call begins."""
        self.tenant(request)
        self._check_profile(request)
        self._warm()
        return _json({"object": "list", "data": [self._entry(name) for name in self._names()]})

    def _check_profile(self, request: web.Request) -> None:
        """A call is to begin with the error that all its turns would have. Raises InvalidValue."""
        if profile := request[PLACE].profile:
            self._choice.in_path(profile)

    def _warm(self) -> None:
        """Have workers look after their connections to upstreams: the first turn should find them open."""
        now = self._now()
        for pool in self._bus.presence.pools():
            due = now - self._warmed.get(pool, -WARM_EVERY_S) >= WARM_EVERY_S
            if due and self._bus.presence.living(pool, now):
                self._warmed[pool] = now
                self._bus.warm(pool)

    async def model(self, request: web.Request) -> web.Response:
        """GET /v1/models/{id}; the id may hold slashes."""
        self.tenant(request)
        self._check_profile(request)
        name = request[PLACE].model
        self._pool_of(name)
        return _json(self._entry(name))

    def pools(self) -> dict[str, dict[str, int]]:
        """Every pool that is configured or heard of: its living workers and their free slots."""
        now = self._now()
        names = {model.pool for model in self._settings.models.values()} | set(self._bus.presence.pools())
        living = {name: self._bus.presence.living(name, now) for name in sorted(names)}
        return {
            name: {"workers": len(heres), "slots_free": sum(here.free for here in heres)}
            for name, heres in living.items()
        }

    async def ready(self, _: web.Request) -> web.Response:
        """GET /ready: whether turns can be taken now, and what that depends on."""
        pools = self.pools()
        ready = self._bus.connected and not self.draining and any(pool["workers"] for pool in pools.values())
        body = {"ready": ready, "nats": self._bus.connected, "pools": pools, "draining": self.draining}
        return _json(body, status=200 if ready else 503)


async def health(_: web.Request) -> web.Response:
    """GET /health: the event loop runs."""
    return _json({"status": "ok"})


def _shown(text: str) -> str:
    """A caller's text, short and on one line, for a message."""
    short = text if len(text) <= 100 else text[:97] + "..."
    return repr(short)


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
