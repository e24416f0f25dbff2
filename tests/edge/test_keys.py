"""API keys -> tenants."""

import pytest

from edge.keys import Keys
from protocol.errors import InvalidKey, NoKey
from protocol.settings_voice import DEFAULT_TENANT

KEYS = Keys({"acme": "sk-1", "other": "sk-2"}, ["x-api-key", "x-line-key"])

# headers, the path's secret, tenant
KNOWN: dict[str, tuple[dict[str, str], str | None, str]] = {
    "a bearer": ({"Authorization": "Bearer sk-1"}, None, "acme"),
    "its scheme in lower case": ({"Authorization": "bearer sk-2"}, None, "other"),
    "spaces around it": ({"Authorization": "BEARER  sk-1 "}, None, "acme"),
    "a configured header": ({"x-api-key": "sk-1"}, None, "acme"),
    "another one": ({"x-line-key": " sk-2 "}, None, "other"),
    "the path": ({}, "sk-2", "other"),
    "a dummy bearer before a configured header": ({"Authorization": "Bearer none", "x-api-key": "sk-2"}, None, "other"),
    "a dummy bearer before the path": ({"Authorization": "Bearer none"}, "sk-1", "acme"),
    "a wrong path beside a bearer": ({"Authorization": "Bearer sk-1"}, "nonsense", "acme"),
    "another scheme beside the path": ({"Authorization": "Basic abc"}, "sk-1", "acme"),
    "two that are ours: the bearer's": ({"Authorization": "Bearer sk-1"}, "sk-2", "acme"),
}
NONE: dict[str, tuple[dict[str, str], str | None]] = {
    "nothing": ({}, None),
    "an empty header": ({"Authorization": ""}, None),
    "a scheme alone": ({"Authorization": "Bearer"}, None),
    "a scheme and a space": ({"Authorization": "Bearer "}, None),
    "another scheme": ({"Authorization": "Basic sk-1"}, None),
    "no scheme": ({"Authorization": "sk-1"}, None),
    "an empty configured header": ({"x-api-key": " "}, None),
    "a header that is not configured": ({"api-key": "sk-1"}, None),
    "an empty path": ({}, ""),
}
WRONG: dict[str, tuple[dict[str, str], str | None]] = {
    "another bearer": ({"Authorization": "Bearer sk-3"}, None),
    "one character more": ({"Authorization": "Bearer sk-1x"}, None),
    "other letters": ({"Authorization": "Bearer SK-1"}, None),
    "two in one": ({"Authorization": "Bearer sk-1 sk-2"}, None),
    "bytes that are no text": ({"Authorization": "Bearer \udcff"}, None),
    "in a configured header": ({"x-api-key": "sk-3"}, None),
    "in the path": ({}, "sk-3"),
    "everywhere": ({"Authorization": "Bearer sk-3", "x-api-key": "sk-4"}, "sk-5"),
}


@pytest.mark.parametrize(("headers", "from_path"), [*NONE.values(), *WRONG.values()], ids=[*NONE, *WRONG])
def test_without_keys_everybody_is_the_default_tenant(headers: dict[str, str], from_path: str | None) -> None:
    assert Keys({}, ["x-api-key"]).tenant_of(headers, from_path) == DEFAULT_TENANT


@pytest.mark.parametrize(("headers", "from_path", "tenant"), KNOWN.values(), ids=KNOWN)
def test_the_first_key_that_is_ours_names_the_tenant(
    headers: dict[str, str], from_path: str | None, tenant: str
) -> None:
    assert KEYS.tenant_of(headers, from_path) == tenant


@pytest.mark.parametrize(("headers", "from_path"), NONE.values(), ids=NONE)
def test_without_a_key_every_way_to_send_one_is_named(headers: dict[str, str], from_path: str | None) -> None:
    with pytest.raises(NoKey) as raised:
        KEYS.tenant_of(headers, from_path)

    assert str(raised.value) == (
        "no API key came with the request; send it as 'Authorization: Bearer KEY', 'x-api-key: KEY', 'x-line-key: KEY' "
        "or in the path /t/KEY/v1/..."
    )


@pytest.mark.parametrize(("headers", "from_path"), WRONG.values(), ids=WRONG)
def test_a_wrong_key_is_never_said_back(headers: dict[str, str], from_path: str | None) -> None:
    with pytest.raises(InvalidKey) as raised:
        KEYS.tenant_of(headers, from_path)

    assert "sk-" not in str(raised.value).lower()
