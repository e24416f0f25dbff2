"""API keys -> tenants."""

import pytest

from edge.keys import DEFAULT_TENANT, Keys
from protocol.errors import InvalidKey, NoKey

KEYS = Keys({"acme": "sk-1", "other": "sk-2"})


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic abc"])
def test_without_keys_everybody_is_the_default_tenant(header: str | None) -> None:
    assert Keys({}).tenant_of(header) == DEFAULT_TENANT


@pytest.mark.parametrize(
    ("header", "tenant"), [("Bearer sk-1", "acme"), ("bearer sk-2", "other"), ("BEARER  sk-1 ", "acme")]
)
def test_a_key_names_its_tenant(header: str, tenant: str) -> None:
    assert KEYS.tenant_of(header) == tenant


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic sk-1", "sk-1"])
def test_no_key(header: str | None) -> None:
    with pytest.raises(NoKey, match="Authorization: Bearer"):
        KEYS.tenant_of(header)


@pytest.mark.parametrize("header", ["Bearer sk-3", "Bearer sk-1x", "Bearer SK-1", "Bearer sk-1 sk-2", "Bearer \udcff"])
def test_a_wrong_key(header: str) -> None:
    with pytest.raises(InvalidKey) as raised:
        KEYS.tenant_of(header)
    assert "sk-" not in str(raised.value), "a secret is never said back"
