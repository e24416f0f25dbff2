"""What a process can be told: the tables of trunkline.toml as frozen Structs, with their defaults and bounds.

A description says what a value must be; the error about a wrong one quotes it. Upstream keys are never in here: only
the *names* of the variables that hold them.
"""

import hashlib
from typing import Literal

import msgspec
from msgspec import Struct, field

from protocol.profiles import BUILT_IN
from protocol.settings_profiles import Gate, HooksSettings, Profile, Tenant
from protocol.settings_values import (
    ApiVersion,
    Count,
    Dialect,
    Failures,
    Grace,
    Header,
    HttpUrl,
    Language,
    MaxTokensField,
    NatsUrl,
    Number,
    Origin,
    Parameter,
    Percentile,
    Pool,
    Pools,
    Port,
    Price,
    Seconds,
    Share,
    Stop,
    Token,
    Variable,
    Words,
)

PASS_THROUGH = "openai/"  # before an upstream's own model id


class EdgeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an edge listens, waits and stops."""

    host: Words = "127.0.0.1"
    port: Port = 8080
    processes: Count = 1  # they share the port
    lame_s: Grace = 2.0  # after SIGTERM: not ready, yet accepting
    drain_s: Grace = 30.0  # then: running streams may finish
    headers_after_s: Seconds = 2.0  # a stream's status line waits this long for the first content
    ping_s: Seconds = 5.0  # a silent stream gets a keep-alive this often
    key_headers: tuple[Header, ...] = ("x-api-key",)  # may hold an API key, beside `Authorization: Bearer`
    cors_origins: tuple[Origin, ...] = ()  # web pages that may call from a browser


class WorkerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker takes on."""

    slots: Count = 256  # jobs at a time
    pools: Pools = ("default",)
    drain_s: Grace = 30.0  # after SIGTERM: running jobs may finish


class AdminSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Health, readiness and metrics of every process, apart from the public port."""

    host: Words = "127.0.0.1"
    port: Port | None = None  # None: the tier's own default, or the next free one; 0: any free one


class NatsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bus. A URL may hold a password, so `repr` leaves it out."""

    url: NatsUrl | None = None  # None: `up` starts a server of its own, the tiers use the default address
    prefix: Token = "trunkline"
    wait_s: Seconds = 10.0  # unreachable for longer at the start: give up

    def __repr__(self) -> str:
        return f"NatsSettings(url={'…' if self.url else None}, prefix={self.prefix!r}, wait_s={self.wait_s})"


class TurnSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller may expect of one turn."""

    budget_s: Seconds = 8.0  # to the first content
    total_s: Seconds = 120.0  # to the last frame
    on_lost: Literal["error", "finish", "continue"] = "error"  # when a worker is lost after the caller heard something
    finish_text: Words = "Sorry, could you say that again?"  # said under `finish`
    call_id_headers: tuple[Header, ...] = ("x-conversation-id", "x-call-id")  # the first one present names the call


class BuiltinSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The models that need no network."""

    enabled: bool = True  # false removes the echo models


class JobsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of each pool's queue."""

    max_msgs: Count = 1000
    max_bytes: Count = 256 * 1024 * 1024
    max_age_s: Count = 120  # and the window in which an offer is known as a duplicate


class TelemetrySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where logs and spans go, beside what the standard OTEL_ variables say."""

    traces_file: Words | None = None  # OTLP, one JSON line per batch
    log_format: Literal["auto", "json", "text"] = "auto"  # auto: text on a terminal
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # and all that is graver
    extras: tuple[Words, ...] = ()  # names in a turn's extra bodies whose values go on its trace


class ResponsesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of responses, so that a conversation can go on from one."""

    max_age_s: Count = 86_400
    max_response_bytes: Count = 1_000_000  # with all that led to it; a larger one is not kept
    max_bytes: Count = 1 << 30  # of all of them


class UpstreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The short form of one model, `upstream`, and its one target."""

    preset: Words | None = None  # an upstream that is known by name, a row of `protocol.presets`
    url: HttpUrl | None = None
    model: Words | None = None
    key_env: Variable | None = None
    dialect: Dialect = "chat-completions"  # or the preset's


class LocalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model `local` on this machine. `up --local-model` sets these for the processes that it starts."""

    url: HttpUrl | None = None
    stop: Stop | None = None  # its answers end there; for a model that does not know where to stop


class BreakerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a worker passes a failing target over. It looks at the last `window_s` of what it asked that target."""

    window_s: Seconds = 10.0
    requests: Count = 5  # fewer in the window say nothing
    failures: Failures = 0.5  # of them: from here on it is open
    open_s: Seconds = 5.0  # then one turn at a time probes it


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that callers ask for."""

    pool: Pool = "default"
    targets: tuple[str, ...] = ()  # tried in this order; a built-in model has none
    hedge_share: Share = 0.1  # of the turns that may be hedged
    retry_share: Share = 0.2  # second and later tries, by turns; a few a second are always free
    profile: Words | None = None  # of the turns that ask for it and name no other
    language: Language | None = None  # of its calls, where they do not show their own
    prompt: Words | None = None  # a template: the system message that goes before the caller's own


class Prices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a target costs per million tokens, in whatever unit its operator counts in."""

    input: Price
    output: Price
    cached: Price | None = None  # of the input; None: as any other


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream. `model` is the id it is asked for; `*` stands for what the caller named after `openai/`.

    `connect_s` and `first_content_s` make room for the next target: where none is left only the turn's budget counts.
    """

    model: Words
    base_url: HttpUrl = ""  # where the API is; a preset may bring it, and it is never empty once the settings are read
    preset: str | None = None  # an upstream that is known by name, a row of `protocol.presets`
    dialect: Dialect = "chat-completions"  # or the preset's
    api_key_env: Variable | None = None
    api_version: ApiVersion | None = None  # where the preset's path names one, as Azure's does
    connect_s: Seconds = 0.5  # DNS, TCP and TLS
    first_content_s: Seconds = 1.5
    hedge_after_s: Seconds | None = None  # without content for so long: the next target starts beside it
    hedge_percentile: Percentile | None = None  # the same, after this percentile of its own recent times
    stall_s: Seconds = 3.0  # no progress: taken as a cut
    total_s: Seconds = 60.0
    prefill: bool = False  # it continues an assistant message that ends the history
    stop: tuple[Stop, ...] = ()  # its answers end there, beside where the caller wants
    thinks_first: bool = False  # its template opens <think> in the prompt: of the tags only </think> comes
    max_tokens: Count | None = None  # asked for where the caller sets no limit; `messages` cannot do without
    max_tokens_field: MaxTokensField | None = None  # what it calls that limit; None: the preset's
    refuses: tuple[Parameter, ...] = ()  # parameters that it is never sent, beside the preset's
    warm: Number = 2  # connections kept open while nobody asks
    keepalive_s: Seconds = 60.0  # an idle connection is closed after this: less than the upstream's own limit
    prices: Prices | None = None


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a process is told; the defaults are a working line on one machine."""

    edge: EdgeSettings = EdgeSettings()
    worker: WorkerSettings = WorkerSettings()
    admin: AdminSettings = AdminSettings()
    nats: NatsSettings = NatsSettings()
    turn: TurnSettings = TurnSettings()
    builtin: BuiltinSettings = BuiltinSettings()
    jobs: JobsSettings = JobsSettings()
    breaker: BreakerSettings = BreakerSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    hooks: HooksSettings = HooksSettings()
    responses: ResponsesSettings = ResponsesSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    local: LocalSettings = LocalSettings()
    models: dict[str, Model] = field(default_factory=dict)  # the built-in ones included
    targets: dict[str, Target] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=lambda: dict(BUILT_IN))  # complete; the built-in ones included
    tenants: dict[str, Tenant] = field(default_factory=dict)  # by the name of their API key
    tools: dict[str, Gate] = field(default_factory=dict)  # by the function's name
    data_dir: str = ".trunkline"
    api_keys: dict[str, str] = field(default_factory=dict)  # name → secret

    def __repr__(self) -> str:
        shown = (f"{key}={getattr(self, key)!r}" for key in self.__struct_fields__ if key != "api_keys")
        return f"Settings({', '.join(shown)}, api_keys={sorted(self.api_keys)})"

    def model_for(self, name: str) -> Model | None:
        """The model that a caller means by `name`; `openai/<id>` is the model `openai/*`."""
        if name.startswith(PASS_THROUGH) and name not in self.models and name != PASS_THROUGH:
            name = PASS_THROUGH + "*"
        return self.models.get(name)

    def digest(self) -> str:
        """Equal for processes that answer alike, and no secret in it."""
        asked = (self.models, self.targets, self.turn, self.builtin, self.breaker)
        told = msgspec.json.encode((*asked, self.profiles, self.tenants, self.tools), order="sorted")
        return hashlib.sha256(told).hexdigest()[:12]
