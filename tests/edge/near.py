"""Bodies near a good one, for properties that hold of any."""

from typing import Any

from hypothesis import strategies as st

SECRET = "s3cr3t"

Place = tuple[str | int, ...]

words = st.sampled_from([SECRET, "", "user", "function", "text", "image_url", "auto", "call_1", "\x00", "é😀"])
numbers = st.sampled_from([0, -1, 1, 3, 1.5, 1e308, 2**31, 2**63, 2**64, 10**40, -(10**40)])
keys = st.sampled_from(["type", "text", "name", "function", "content", "role", "id", "call_id", "output", SECRET])
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner),
    max_leaves=6,
)


def places(value: Any, path: Place = ()) -> list[Place]:
    """Every place in a JSON value."""
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in entries for place in places(entry, (*path, key)))]


def changed(value: Any, path: Place, new: Any) -> Any:
    """`value` with `new` at `path`, or without that entry where `new` is Ellipsis."""
    if not path:
        return None if new is ... else new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy
