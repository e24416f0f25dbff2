"""Text -> how many tokens it is: o200k_base, the vocabulary of OpenAI's newer models; other models' differ little.

Loading it takes a tenth of a second and 65 MB: it is done in a thread, once, and only by whoever has something to
count. Until then, and where the package is missing, a rule of thumb counts characters.
"""

import logging
from collections.abc import Callable
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from threading import Thread
from types import ModuleType

log = logging.getLogger(__name__)

PACKAGE = "bpe_openai"
ENCODING = "o200k_base"
CHARS_PER_TOKEN = 4  # of English text, as every large vocabulary has it; other languages cost more
PIECE_CHARS = 16 << 10  # counted at once, in half a millisecond: the interpreter does nothing else meanwhile

Count = Callable[[str], int]


def by_characters(text: str) -> int:
    """The rule of thumb."""
    return -(-len(text) // CHARS_PER_TOKEN)


_count: Count = by_characters


def count(text: str) -> int:
    """Tokens of a text, never fewer than one where there is any."""
    if len(text) <= PIECE_CHARS:
        return _count(text)
    return sum(_count(text[start : start + PIECE_CHARS]) for start in range(0, len(text), PIECE_CHARS))


@cache
def load_soon() -> Thread:
    """Begin to load it, in the background. Asked again: nothing."""
    loading = Thread(target=_load, name="vocabulary", daemon=True)
    loading.start()
    return loading


def _load() -> None:
    global _count
    try:
        _count = _counter()
    except (ImportError, OSError, ValueError) as error:
        log.warning("tokens are counted by characters: %s", error)


def _counter() -> Count:
    counter: Count = _bindings().tokenizer_for_encoding(ENCODING).count

    def counted(text: str) -> int:
        try:
            return counter(text)
        except UnicodeEncodeError:  # half a surrogate pair, which is no text
            return counter(text.encode("utf-8", "replace").decode())

    return counted


def _bindings() -> ModuleType:
    """The package's native module alone: the package itself reads every vocabulary once more, into Python objects,
    which takes another second and 70 MB.
    """
    package = find_spec(PACKAGE)
    folders = (package and package.submodule_search_locations) or []
    found = PathFinder.find_spec(f"{PACKAGE}._bindings", list(folders))
    if found is None or found.loader is None:
        raise ImportError(f"no package {PACKAGE!r} here")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module
