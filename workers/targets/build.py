"""Settings -> routes: which model name is answered by which targets, and what is known of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from aiohttp import ClientSession

from protocol import settings
from protocol.errors import ModelNotFound
from protocol.settings import BUILTIN_MODELS, Settings
from protocol.settings_types import PASS_THROUGH, BreakerSettings, Model
from workers.breaker import Breaker
from workers.hedge import HedgeBudget, Latencies
from workers.prompts import Prompt, prompt_of
from workers.retries import RetryBudget
from workers.routes import Choice, Route, route
from workers.targets.chat_completions import ChatCompletions
from workers.targets.dialect import Dialect
from workers.targets.echo import Echo
from workers.targets.messages import Messages
from workers.targets.responses import Responses
from workers.targets.upstream import Upstream

ANY = "*"  # as a target's model: the id that the caller named
MAX_SHOWN_CHARS = 100

DIALECTS: dict[str, Dialect] = {
    "chat-completions": ChatCompletions(),
    "responses": Responses(),
    "messages": Messages(),
}


def build_upstreams(
    told: Settings,
    environ: Mapping[str, str],
    session: ClientSession,
    on_fault: Callable[[str, str], None] = lambda target, kind: None,
) -> dict[str, Upstream]:
    """Every target by its name.

    `environ` holds the keys: that each is there was checked at the start, by `settings.missing_keys`. `session` comes
    from `connections.open_session` and outlives every stream.
    """
    return {
        name: Upstream(
            name,
            target,
            DIALECTS[target.dialect],
            session=session,
            key=_key(target, environ),
            on_fault=on_fault,
        )
        for name, target in told.targets.items()
    }


class Known(NamedTuple):
    """What has been learnt of a target, as long as its settings stay as they are."""

    told: tuple[settings.Target, BreakerSettings]
    breaker: Breaker
    latencies: Latencies


class Budgets(NamedTuple):
    """What the turns of a model may spend together, as long as its settings stay as they are."""

    told: Model
    retries: RetryBudget
    hedges: HedgeBudget


class Models:
    """The models that a worker answers. A turn keeps the route that it began with, whatever `replace` changes.

    `on_breaker` is told of each target that is passed over from now on, or no more; `on_fault` see `Upstream`.
    """

    def __init__(
        self,
        told: Settings,
        environ: Mapping[str, str],
        session: ClientSession,
        *,
        on_fault: Callable[[str, str], None] = lambda target, kind: None,
        on_breaker: Callable[[str, bool], None] = lambda target, is_open: None,
    ) -> None:
        self._environ = environ
        self._session = session
        self._on_fault = on_fault
        self._on_breaker = on_breaker
        self._known: dict[str, Known] = {}
        self._budgets: dict[str, Budgets] = {}
        self.replace(told)

    def replace(self, told: Settings) -> None:
        """Answer by these settings from now on. What is known of a target that stays as it is, stays known.

        Raises:
            SettingsError: a prompt is no template; nothing has changed.
        """
        prompts = {name: prompt_of(told, name) for name in told.models}
        upstreams = build_upstreams(told, self._environ, self._session, self._on_fault)
        before, self._known = self._known, {name: self._known_of(name, told) for name in upstreams}
        self._budgets = {name: self._budgets_of(name, model) for name, model in told.models.items()}
        self._told = told
        self._routes = {
            name: self._route(name, model, upstreams, prompts[name])
            for name, model in told.models.items()
            if model.targets
        }
        if told.builtin.enabled:
            self._routes |= {name: route(Choice(Echo(name)), gates=told.tools) for name in BUILTIN_MODELS}
        self._report(before)

    @property
    def open(self) -> tuple[str, ...]:
        """The targets that are passed over now."""
        return tuple(name for name, known in self._known.items() if known.breaker.is_open)

    def route_for(self, model: str) -> Route:
        """Who answers a turn that begins now. Raises ModelNotFound."""
        name = model
        if model not in self._routes and model.startswith(PASS_THROUGH) and model != PASS_THROUGH:
            name = PASS_THROUGH + ANY
        found = self._routes.get(name)
        if found is None:
            raise _not_found(model, self._told)
        if all(self._told.targets[one].model != ANY for one in self._told.models[name].targets):
            return found
        return found._replace(choices=tuple(_asked_for(choice, model) for choice in found.choices))

    def _route(self, name: str, model: Model, upstreams: Mapping[str, Upstream], prompt: Prompt | None) -> Route:
        budgets = self._budgets[name]
        choices = tuple(self._choice(upstreams[target], self._known[target]) for target in model.targets)
        return Route(choices, budgets.retries, budgets.hedges, self._told.tools, prompt)

    def _choice(self, upstream: Upstream, known: Known) -> Choice:
        told, _ = known.told
        return Choice(
            upstream,
            known.breaker,
            known.latencies,
            hedge_after_s=told.hedge_after_s,
            hedge_percentile=told.hedge_percentile,
            prices=told.prices,
        )

    def _known_of(self, name: str, settings: Settings) -> Known:
        told = (settings.targets[name], settings.breaker)
        known = self._known.get(name)
        if known is not None and known.told == told:
            return known
        return Known(told, Breaker(settings.breaker, lambda is_open: self._on_breaker(name, is_open)), Latencies())

    def _budgets_of(self, name: str, model: Model) -> Budgets:
        budgets = self._budgets.get(name)
        if budgets is not None and budgets.told == model:
            return budgets
        return Budgets(model, RetryBudget(model.retry_share), HedgeBudget(model.hedge_share))

    def _report(self, before: Mapping[str, Known]) -> None:
        """Tell of each target that is new, or known no more, that its breaker is closed. What turns that still run
        learn of the one before is told no more.
        """
        for name in self._known.keys() | before.keys():
            if self._known.get(name) is not before.get(name):
                if name in before:
                    before[name].breaker.retire()
                self._on_breaker(name, False)


def _asked_for(choice: Choice, model: str) -> Choice:
    """The same target, asked for what the caller named."""
    upstream = choice.target
    if not isinstance(upstream, Upstream) or upstream.model != ANY:
        return choice
    return replace(choice, target=upstream.asked_for(model.removeprefix(PASS_THROUGH)))


def _key(target: settings.Target, environ: Mapping[str, str]) -> str | None:
    """White space is no part of a key: a secret from a file ends in a line break, which no header can hold."""
    return (environ.get(target.api_key_env) or "").strip() or None if target.api_key_env else None


def _not_found(model: str, told: Settings) -> ModelNotFound:
    shown = model if len(model) <= MAX_SHOWN_CHARS else model[: MAX_SHOWN_CHARS - 1] + "…"
    known = sorted(name.replace(PASS_THROUGH + ANY, PASS_THROUGH + "<id>") for name in told.models)
    return ModelNotFound(f"no model {shown!r}; known: {', '.join(known) or 'none'}", param="model")
