"""What `make up` hands on, as `make -n` shows it."""

import subprocess
from pathlib import Path

import pytest

from tests.docs.session import FRESH, working_copy


@pytest.mark.parametrize(
    ("local", "option"),
    [
        ("", ""),
        ("LOCAL=", ""),
        ("LOCAL=0", ""),
        ("LOCAL=no", ""),
        ("LOCAL=False", ""),
        ("LOCAL=off", ""),
        ("LOCAL=1", " --local-model"),
        ("LOCAL=yes", " --local-model"),
        ("LOCAL=/path/to/0.gguf", " --local-model=/path/to/0.gguf"),
    ],
)
def test_the_local_model_is_asked_for_by_whoever_means_yes(tmp_path: Path, local: str, option: str) -> None:
    working_copy(tmp_path)
    command = f"{FRESH} exec make -n up {local} ARGS=--ephemeral"

    ran = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    *installs, up = ran.stdout.splitlines()
    assert " ".join(up.split()) == f".venv/bin/trunkline up{option} --ephemeral"
    assert option or not any("requirements/model.txt" in line for line in installs)
