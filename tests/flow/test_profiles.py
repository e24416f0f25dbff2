"""The profile of a turn, from its request to its worker, its record and the log."""

import logging
from typing import Any

import pytest
from msgspec.structs import replace

from protocol.profiles import BUILT_IN
from protocol.settings_profiles import Profile, Tenant
from protocol.settings_types import Model, Settings
from tests.flow.line import Line
from tests.flow.processes import MODEL

VAPI_CALL = {"id": "c-1", "orgId": "o-1"}
HISTORY = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "One moment... Hi there."},
    {"role": "user", "content": "bye"},
]


@pytest.mark.parametrize(
    ("path", "headers", "body", "profile"),
    [
        ("/v1/chat/completions", {}, {}, "openai"),
        ("/p/vapi/v1/chat/completions", {}, {}, "vapi"),
        ("/c/c-1/p/fish/chat/completions", {"x-trunkline-profile": "vapi"}, {}, "fish"),
        ("/v1/chat/completions", {"x-trunkline-profile": "pipecat"}, {"call": VAPI_CALL}, "pipecat"),
        ("/v1/chat/completions", {"user-agent": "LiveKit Agents/1.7.0 (python 3.12.4)"}, {}, "livekit"),
        ("/v1/chat/completions", {}, {"call": VAPI_CALL}, "vapi"),
    ],
)
def test_a_turn_has_the_profile_that_its_request_names_or_shows(
    path: str, headers: dict[str, str], body: dict[str, Any], profile: str
) -> None:
    with Line() as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post(path=path, headers=headers, **body)

        line.until(lambda: client.ended and line.records)
        assert client.ended_well
        assert line.records[0].profile == profile
        job = line.sayings[0].job
        assert (job.profile, job.check_tools, job.clean_markup) == (profile, profile != "openai", profile != "openai")
        assert job.budget_ms > 14_000 or profile != "vapi"
        line.settle()


def test_a_profile_that_there_is_not_is_refused_with_those_that_are() -> None:
    with Line() as line:
        edge, _ = line.add_edge(), line.add_worker()

        client = edge.post(path="/p/s3cret/v1/chat/completions")

        line.until(lambda: client.ended)
        assert client.status == 400
        assert client.error is not None
        assert "known: assemblyai, deepgram" in client.error["message"]
        assert b"s3cret" not in client.body
        assert not line.sayings


def test_a_model_and_a_key_choose() -> None:
    own = replace(BUILT_IN["vapi"], base="vapi", language="de")
    with Line(profile=own) as line:
        edge, _ = line.add_edge(), line.add_worker()
        first = edge.post()
        line.until(lambda: first.ended)

        edge.edge.follow(
            Settings(
                models={MODEL: Model(profile="its")},
                profiles={**BUILT_IN, "its": own},
                tenants={"default": Tenant(profile="fish")},
            )
        )
        second = edge.post()

        line.until(lambda: second.ended)
        assert [(saying.job.profile, saying.job.language) for saying in line.sayings] == [("its", "de"), ("fish", "en")]
        line.settle()


def test_what_the_edge_said_does_not_come_back_to_the_model() -> None:
    with Line() as line:
        edge, _ = line.add_edge(), line.add_worker()

        clients = [
            edge.post(path=path, messages=HISTORY) for path in ("/p/vapi/v1/chat/completions", "/chat/completions")
        ]

        line.until(lambda: all(client.ended for client in clients))
        said = {saying.job.profile: saying.job.messages[1].content for saying in line.sayings}
        assert said == {"vapi": "Hi there.", "openai": "One moment... Hi there."}
        line.settle()


def test_turns_without_a_call_id_are_told_of_once_by_key_and_profile(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="edge.handlers")
    with Line() as line:
        edge, _ = line.add_edge(), line.add_worker()

        for path in ("/p/pipecat", "/p/pipecat", "", "/p/elevenlabs/c/call-1", ""):
            client = edge.post(path=f"{path}/v1/chat/completions")
            line.until(lambda client=client: client.ended)  # type: ignore[misc]

        told = [(vars(entry)["profile"], entry.getMessage()) for entry in caplog.records if hasattr(entry, "profile")]
        told = [(profile, text) for profile, text in told if "without a call id" in text]
        assert [profile for profile, _ in told] == ["pipecat", "openai"]
        assert "default_headers" in told[0][1]
        assert "/c/CALL/v1" in told[1][1]
        line.settle()


def test_a_table_of_a_tenant_that_is_no_keys_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with Line(profile=Profile()) as line:
        edge = line.add_edge()

        edge.edge.follow(Settings(models={MODEL: Model()}, tenants={"acme": Tenant(profile="vapi")}))

        assert [
            entry.getMessage() for entry in caplog.records if "[tenants.acme] holds for nobody" in entry.getMessage()
        ]
