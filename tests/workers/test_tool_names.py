"""Names of tools as upstreams take them."""

import pytest

from workers.targets.tool_names import fitted


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("look_up-2", "look_up-2"),
        ("functions.look up!", "functions_look_up_"),
        ("größe", "gr__e"),
        ("x" * 65, "x" * 64),
        ("", "unknown_function"),
    ],
)
def test_a_name_has_the_characters_that_upstreams_take(name: str, expected: str) -> None:
    assert fitted(name) == expected
