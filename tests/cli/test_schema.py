"""`trunkline schema`: an editor that goes by it refuses what a start would refuse, and takes what it would take."""

import json
import tomllib
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner

from protocol.settings import parse
from tests.docs.pages import ROOT
from trunkline.__main__ import cli
from trunkline.schema import KINDS, schema

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))
MODEL = '[models.m]\ntargets = ["t"]\n[targets.t]\nmodel = "x"\n'
VALIDATOR = jsonschema_rs.validator_for(schema())


def complaints(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def test_the_command_prints_it_as_json() -> None:
    ran = CliRunner().invoke(cli, ["schema"])

    assert ran.exit_code == 0
    assert json.loads(ran.output) == schema()


def test_it_is_a_schema() -> None:
    said = schema()

    assert said["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert jsonschema_rs.meta.is_valid(said)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_goes_by_it(path: Any) -> None:
    assert complaints(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "edgy = 1",
        "[edge]\nprot = 1",
        "[edge]\nport = 'x'",
        "[edge]\nport = 65536",
        "[api_keys]\na = 'b'",
        "[models.m]\npool = 'default'",
        "[models.m]\ntargets = []",
        "[models.m]\ntargets = ['t']\npool = 'a.b'",
        MODEL,
        MODEL + "preset = 'grok'",
        MODEL + "base_url = 'ftp://h'",
        MODEL + "base_url = 'http://me@h'",
        MODEL + "preset = 'groq'\nrefuses = ['temp']",
        MODEL + "preset = 'groq'\nhedge_percentile = 1",
        MODEL + "preset = 'groq'\n[targets.t.prices]\ninput = 1",
        MODEL + "preset = 'groq'\n[targets.t.prices]\ninput = 1\noutput = -1",
        "[breaker]\nfailures = 0",
        "[profiles.desk]\nguards = []",
        "[profiles.desk]\nguard = ['hum']",
        "[profiles.desk.fillers]\nEnglish = ['One moment']",
        "[profiles.desk.sentences]\nen = ' '",
        "[profiles.desk]\nlanguage = 'English'",
        "[tenants.acme]\nprofil = 'vapi'",
        "[tools.end_call]\nonce = 'day'",
        "[tools.end_call.allowed]\nreason = 'x'",
        "[hooks]\nwindow_s = 0",
    ],
)
def test_what_a_start_refuses_an_editor_underlines(text: str) -> None:
    with pytest.raises(ValueError, match=r"trunkline\.toml"):
        parse(text, {})

    assert complaints(text) != []


def test_an_empty_file_is_a_whole_one() -> None:
    assert complaints("") == []


def test_profiles_tenants_and_tools_go_by_it() -> None:
    text = (
        "[profiles.desk]\nbase = 'vapi'\nping_s = 0\nguard = ['space', 'filler']\n"
        "[profiles.desk.fillers]\npt-BR = ['Já']\n"
        "[tenants.acme]\nprofile = 'desk'\n[tools.transfer_to_number.allowed]\ntransfer_number = ['+15550100']\n"
    )

    assert parse(text, {}).profiles["desk"].base == "vapi"
    assert complaints(text) == []


def test_a_profile_has_its_defaults_from_its_base() -> None:
    assert all("default" not in said for said in schema()["$defs"]["Profile"]["properties"].values())


def test_every_key_says_what_it_is() -> None:
    said = schema()["$defs"]
    for kind in KINDS:
        keys = said[kind.__name__]["properties"]
        assert [key for key, value in keys.items() if not value.get("description") and "$ref" not in value] == []


def test_nothing_in_it_needs_python() -> None:
    """TOML has no null, and editors' patterns no `\\A`."""
    text = json.dumps(schema())

    assert [word for word in ("null", "None", r"\\A", r"\\Z") if word in text] == []
