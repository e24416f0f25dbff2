"""Settings -> targets: which model name is answered by whom."""

from collections.abc import Callable, Mapping

from aiohttp import ClientSession

from protocol import settings
from protocol.errors import ModelNotFound
from protocol.settings import BUILTIN_MODELS, Settings
from protocol.settings_types import PASS_THROUGH
from workers.targets import Target
from workers.targets.chat_completions import ChatCompletions
from workers.targets.echo import Echo

ANY = "*"  # as a target's model: the id that the caller named
MAX_SHOWN_CHARS = 100


def build_targets(told: Settings, environ: Mapping[str, str], session: ClientSession) -> Callable[[str], Target]:
    """The function from a model's name to its target; it raises ModelNotFound.

    `environ` holds the keys: that each is there was checked at the start, by `settings.missing_keys`. `session` comes
    from `chat_completions.open_session` and outlives every stream.
    """
    upstreams = {
        name: ChatCompletions(name, target, session=session, key=_key(target, environ))
        for name, target in told.targets.items()
    }
    builtin: dict[str, Target] = {name: Echo(name) for name in BUILTIN_MODELS if told.builtin.enabled}

    def target_for(model: str) -> Target:
        entry = told.model_for(model)
        if entry is None:
            raise _not_found(model, told)
        if not entry.targets:
            return builtin[model]
        upstream = upstreams[entry.targets[0]]
        return upstream.asked_for(model.removeprefix(PASS_THROUGH)) if upstream.model == ANY else upstream

    return target_for


def _key(target: settings.Target, environ: Mapping[str, str]) -> str | None:
    """White space is no part of a key: a secret from a file ends in a line break, which no header can hold."""
    return (environ.get(target.api_key_env) or "").strip() or None if target.api_key_env else None


def _not_found(model: str, told: Settings) -> ModelNotFound:
    shown = model if len(model) <= MAX_SHOWN_CHARS else model[: MAX_SHOWN_CHARS - 1] + "…"
    known = sorted(name.replace(PASS_THROUGH + ANY, PASS_THROUGH + "<id>") for name in told.models)
    return ModelNotFound(f"no model {shown!r}; known: {', '.join(known) or 'none'}", param="model")
