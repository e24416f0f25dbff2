"""Look at each target as a worker would: name, connection, TLS, key; a token only where that may cost something."""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import aclosing
from datetime import UTC, datetime

import aiohttp
import msgspec
from aiohttp import ClientSession, ClientTimeout
from msgspec import Struct, field

from protocol.errors import ServiceError
from protocol.ids import new_turn_id
from protocol.messages import Job, Message, Reasoning, Sampling
from protocol.settings import Model, Settings, Target, missing_keys
from trunkline.check import answers
from trunkline.check.answers import (
    ANY,
    address,
    judge_certificate,
    judge_connect,
    judge_first_token,
    judge_hedge,
    judge_models,
    judge_preset,
    models_url,
)
from trunkline.check.clock import Reading, http_reading
from trunkline.check.findings import Finding, fail, ok, told, warn
from workers.targets import Patience
from workers.targets.build import DIALECTS, build_upstreams
from workers.targets.connections import open_session
from workers.targets.upstream import AUDIBLE

SECTION = answers.SECTION
RESOLVE_S, CONNECT_S, ANSWER_S = 3.0, 5.0, 5.0
QUESTION = (Message(role="user", content="Say: hi"),)
MOST_TOKENS = 256  # one that reasons unseen may need so many; any other is hung up on at the first


class TargetSeen(Struct):
    """What was found of one target: what is fine, in short phrases, and findings about what is not."""

    name: str
    phrases: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    def add(self, judged: tuple[str, list[Finding]]) -> None:
        phrase, findings = judged
        if phrase and not findings:
            self.phrases.append(phrase)
        self.findings += findings

    def rows(self) -> list[Finding]:
        """One row for all that is fine, one for each thing that is not."""
        fine = [ok(SECTION, self.name, "; ".join(self.phrases))] if self.phrases else []
        return [*fine, *self.findings]


async def look_at_targets(settings: Settings, environ: Mapping[str, str], *, spend: bool) -> list[TargetSeen]:
    """Every target at the same time, through the client that workers use."""
    async with open_session() as session:
        looks = [_Look(settings, environ, session, name) for name in settings.targets]
        return list(await asyncio.gather(*(look.run(spend=spend) for look in looks)))


def judge_keys(settings: Settings, environ: Mapping[str, str], served: set[str]) -> dict[str, list[Finding]]:
    """The keys that a worker started here would lack. `served`: targets that living workers have the keys of."""
    found: dict[str, list[Finding]] = {}
    for sentence in map(str, missing_keys(settings, environ)):
        name = sentence.partition(" ")[0].removeprefix("targets.")
        finding = told(SECTION, name, "fail", sentence, "export it")
        if name in served:
            cure = f"nothing, unless a worker is to be started from here: {finding.cure}"
            finding = warn(SECTION, name, f"{finding.text} here; the workers that run have it", cure)
        found[name] = [finding]
    return found


class _Look:
    """At one target, step by step until one fails."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], session: ClientSession, name: str) -> None:
        self._settings = settings
        self._environ = environ
        self._session = session
        self._target: Target = settings.targets[name]
        self._key = (environ.get(self._target.api_key_env or "") or "").strip()
        self._seen = TargetSeen(name)

    async def run(self, *, spend: bool) -> TargetSeen:
        host, port, tls = address(self._target.base_url)
        self._judge_settings()
        if not (await self._resolves(host, port) and await self._connects(host, port, tls=tls)):
            return self._seen
        if self._key or not self._target.api_key_env:
            self._seen.phrases += [f"{self._target.api_key_env} is set"] if self._key else []
            if await self._lists() and spend:
                await self._spend()
        return self._seen

    def _judge_settings(self) -> None:
        """What is known of it before it is asked."""
        name, models = self._seen.name, self._models()
        if not models:
            self._seen.findings.append(
                warn(SECTION, name, "no model uses it", "name it in a model's targets, or remove it")
            )
        self._seen.findings += [*judge_preset(name, self._target), *judge_hedge(name, self._target, models)]

    def _models(self) -> dict[str, Model]:
        return {name: model for name, model in self._settings.models.items() if self._seen.name in model.targets}

    def _fail(self, text: str, cure: str) -> bool:
        self._seen.findings.append(fail(SECTION, self._seen.name, text, cure))
        return False

    async def _resolves(self, host: str, port: int) -> bool:
        cure = f"correct targets.{self._seen.name}.base_url, or look at this machine's name service"
        try:
            async with asyncio.timeout(RESOLVE_S):
                await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            return self._fail(f"the name {host} is not resolved within {RESOLVE_S:g} s", cure)
        except (OSError, UnicodeError) as error:
            return self._fail(f"the name {host} is not known ({getattr(error, 'strerror', None) or error})", cure)
        return True

    async def _connects(self, host: str, port: int, *, tls: bool) -> bool:
        context = ssl.create_default_context() if tls else None
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(host, port, ssl=context)
        except TimeoutError:
            cure = "look at the way to it: a firewall, a proxy, an address that is none"
            return self._fail(f"{host}:{port} does not answer within {CONNECT_S:g} s", cure)
        except ssl.SSLCertVerificationError as error:
            cure = "renew it, or name its issuer in SSL_CERT_FILE, where workers start too"
            return self._fail(f"its TLS certificate is refused: {error.verify_message}", cure)
        except ssl.SSLError as error:
            cure = f"see whether {host}:{port} speaks TLS; else write http:// in base_url"
            return self._fail(f"TLS fails: {(error.reason or 'no handshake').lower().replace('_', ' ')}", cure)
        except OSError as error:
            cure = f"start it, or correct targets.{self._seen.name}.base_url"
            return self._fail(f"{host}:{port} refuses connections ({_reason(error)})", cure)
        self._seen.add(judge_connect(self._seen.name, self._target, loop.time() - start))
        if tls:
            certificate = writer.get_extra_info("peercert")
            self._seen.add(judge_certificate(self._seen.name, certificate, datetime.now(UTC)))
        writer.transport.abort()
        return True

    async def _lists(self) -> bool:
        """GET the list of models, which costs nothing."""
        asked = datetime.now(UTC)
        headers = DIALECTS[self._target.dialect].headers(self._target, self._key) | {"Accept": "application/json"}
        try:
            async with self._session.get(
                models_url(self._target),
                headers=headers,
                allow_redirects=False,
                timeout=ClientTimeout(total=ANSWER_S),
            ) as answer:
                heard = datetime.now(UTC)
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = f"within {ANSWER_S:g} s" if isinstance(error, TimeoutError) else f"({type(error).__name__})"
            return self._fail(f"gives no answer to GET /models {why}", "see the upstream's log: is it an HTTP server?")
        reading = http_reading(f"target {self._seen.name}", answer.headers.get("Date"), asked, heard)
        self._seen.readings += [reading] if reading else []
        judged = judge_models(self._seen.name, self._target, answer.status, body)
        self._seen.add(judged)
        return not any(finding.level == "fail" for finding in judged[1])

    async def _spend(self) -> None:
        """Ask for a few tokens and hang up at the first one, with the code that answers turns."""
        models = [model for model in self._models() if ANY not in (model, self._target.model)]
        if not models:
            self._seen.phrases.append("no token asked for: callers name its models")
            return
        budget_s = self._settings.turn.budget_s
        job = Job(
            id=new_turn_id(),
            model=models[0],
            messages=QUESTION,
            budget_ms=int(budget_s * 1000),
            total_ms=int(budget_s * 1000),
            sampling=Sampling(max_tokens=MOST_TOKENS),
        )
        alone = msgspec.structs.replace(self._settings, targets={self._seen.name: self._target})
        target = build_upstreams(alone, self._environ, self._session)[self._seen.name]
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            frames = target.stream(job, headers={}, patience=Patience(budget_s, budget_s))
            async with aclosing(frames):
                async for frame in frames:
                    if isinstance(frame, (*AUDIBLE, Reasoning)):
                        self._seen.add(judge_first_token(self._seen.name, self._target, loop.time() - start))
                        return
        except ServiceError as error:
            cure = "see the upstream's own state, its model and what the key may do"
            self._fail(f"asked for a token: {error}", cure)


def _reason(error: OSError) -> str:
    """asyncio puts several attempts into one sentence."""
    return "connection refused" if isinstance(error, ConnectionRefusedError) else error.strerror or str(error)
