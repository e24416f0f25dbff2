"""Where settings were said, a file's text and an environment, and how to read one table of them.

Every complaint is a `SettingsError`: one sentence that names the place, the key and the cure. Values that may hold a
secret are never quoted.
"""

import difflib
import functools
import tomllib
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields

PREFIX = "TRUNKLINE_"
QUOTED_CHARS = 60  # enough to recognise a value by
LISTED_NAMES = 20  # more would bury the one that was meant
UNQUOTED = {"api_key_env", "base_url", "key_env", "url"}  # where people paste keys and passwords by mistake

T = TypeVar("T", bound=Struct)


class SettingsError(ValueError):
    """A setting that nobody can work with; the text says where it is and what to do."""


class Source(Struct, frozen=True, kw_only=True):
    """A parsed file and the environment that overrides it. Its `repr` shows neither: both may hold secrets."""

    name: str  # of the file, as its user knows it
    text: str
    tables: dict[str, Any]
    environ: Mapping[str, str]
    flags: Mapping[str, str] = {}  # by variable: the option of a command line that stands for it

    def __repr__(self) -> str:
        return f"Source(name={self.name!r})"

    def where(self, *path: str) -> str:
        """`trunkline.toml, line 7`: the line on which the key path is complete."""
        return f"{self.name}, line {line_of(self.text, path)}"

    def says(self, *path: str) -> bool:
        """Whether the environment or the file sets this key of a top table."""
        return self.said(variable_of(*path)) is not None or path[-1] in self.table(*path[:-1])

    def place(self, *path: str) -> str:
        """Who said it: the option or the variable that overrides the key, else the line of the file."""
        table = ".".join(path[:-1])
        if self.said(variable := variable_of(*path)) is not None:
            return self.called(variable)
        return f"{self.where(*path)}: {f'[{table}] ' if table else ''}{path[-1]}"

    def called(self, variable: str) -> str:
        """A variable as its user knows it: the option, where that was typed."""
        return self.flags.get(variable, variable)

    def table(self, *path: str) -> dict[str, Any]:
        """The table at `path`, empty when the file has none."""
        here = self.tables
        for depth, key in enumerate(path, start=1):
            here = here.get(key, {})
            if not isinstance(here, dict):
                raise SettingsError(
                    f"{self.where(*path[:depth])}: {key} must be a table: write [{'.'.join(path)}] and its keys below"
                )
        return here

    def said(self, variable: str) -> str | None:
        """What the environment says. An empty variable counts as not set, as compose files write it."""
        return self.environ.get(variable) or None


def read(text: str, environ: Mapping[str, str], *, name: str, flags: Mapping[str, str]) -> Source:
    """Parse `text` as TOML; a syntax error names its line."""
    try:
        return Source(name=name, text=text, tables=tomllib.loads(text), environ=environ, flags=flags)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: not valid TOML: {error}; mend that line") from None
    except RecursionError:
        raise SettingsError(f"{name}: not valid TOML: nested too deep") from None


def line_of(text: str, path: Iterable[str]) -> int:
    """The first line, counted from 1, at which the text up to and including it holds `path`; 1 when none does."""
    path, lines = tuple(path), text.split("\n")
    for count in range(1, len(lines) + 1):
        try:
            here: Any = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value that spans lines
        for key in path:
            here = here.get(key) if isinstance(here, dict) else None
        if here is not None:
            return count
    return 1


def read_table(source: Source, path: tuple[str, ...], kind: type[T]) -> T:
    """One table as its Struct. `TRUNKLINE_<TABLE>__<KEY>` overrides the file, for tables at the top."""
    said, name = source.table(*path), ".".join(path)
    hints = get_type_hints(kind, include_extras=True)
    for key in said.keys() - hints.keys():
        refuse(f"{source.where(*path, key)}: [{name}] has no key", key, hints)
    values: dict[str, Any] = {}
    for key, hint in hints.items():
        text = source.said(variable_of(*path, key)) if len(path) == 1 else None
        if (table := table_of(hint)) and key in said:
            values[key] = read_table(source, (*path, key), table)
        elif text is not None or key in said:
            value = said[key] if text is None else text
            place = functools.partial(source.place, *path, key)
            values[key] = value_of(value, hint, place=place, key=key, strict=text is None)
    for item in fields(kind):
        if item.required and item.name not in values:
            raise SettingsError(f"{source.where(*path)}: [{name}] needs {item.name} = …")
    return kind(**values)


def value_of(said: object, hint: Any, *, place: str | Callable[[], str], key: str, strict: bool = True) -> Any:
    """`said` as `hint` demands; not `strict`: from the text of a variable, where commas part a list's items. A `place`
    in a file takes time to find: it is asked for when something is wrong.
    """
    value: object = said
    if isinstance(said, str) and not strict and is_list(hint):
        value = [item for part in said.split(",") if (item := part.strip())]
    try:
        return msgspec.convert(value, hint, strict=strict)
    except msgspec.ValidationError:
        shown = repr(said)
        quoted = f"is {shown}" if key not in UNQUOTED and len(shown) <= QUOTED_CHARS else "is not usable"
        found = place if isinstance(place, str) else place()
        commas = ", with commas between the items" if not strict and is_list(hint) else ""
        raise SettingsError(f"{found} {quoted}; it must be {demand(hint)}{commas}") from None


def table_of(hint: Any) -> type[Struct] | None:
    """The Struct of a key that is a table of its own."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Struct)), None)


def is_list(hint: Any) -> bool:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_origin(bare) is tuple


def demand(hint: Any) -> str:
    """What a type asks for, in words: the description of its `Meta`, where it has one."""
    inner, args = get_origin(hint), get_args(hint)
    if inner is Annotated:
        descriptions = [m.description for m in args[1:] if isinstance(m, Meta) and m.description]
        return descriptions[0] if descriptions else demand(args[0])
    if inner in (Union, UnionType):
        return demand(next(arg for arg in args if arg is not NoneType))
    if inner is Literal:
        return " or ".join(f'"{arg}"' for arg in args)
    if inner is tuple:
        return f"a list, each item {demand(args[0])}"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, "a string")


def variable_of(*path: str) -> str:
    """`TRUNKLINE_EDGE__PORT` for ("edge", "port")."""
    return PREFIX + "__".join(path).upper()


def refuse(sentence: str, name: str, known: Iterable[str], *, otherwise: str = "") -> NoReturn:
    """Raise with the nearest known name, and with all of them unless they would bury it. `otherwise`: another cure."""
    raise SettingsError(f"{sentence} {name!r}; {near(name, known)}{f'; {otherwise}' if otherwise else ''}")


def near(name: str, known: Iterable[str]) -> str:
    """The nearest of the names that are known, and all of them unless they would bury it."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    cure = [f"did you mean {nearest[0]}?"] if nearest else []
    if not nearest or len(names) <= LISTED_NAMES:
        cure.append(f"known: {', '.join(names) or 'none'}")
    return " ".join(cure)
