"""/docs: the page and what it is made of, without a key. That it works is a matter of tests/clients."""

import re
import subprocess
import sys

import pytest

from edge import docs_page
from tests.edge.test_openapi import Client, client

__all__ = ["client"]


async def test_the_page_needs_no_key_and_may_load_only_from_where_it_came(client: Client) -> None:
    answered = await client.get("/docs")

    assert (answered.status, answered.content_type) == (200, "text/html")
    policy = answered.headers["Content-Security-Policy"]
    allowed = {source for rule in policy.split("; ") for source in rule.split()[1:]}
    assert policy.startswith("default-src 'none'; ")
    assert allowed == {"'none'", "'self'", "data:"}


async def test_everything_that_the_page_names_is_there(client: Client) -> None:
    page = await (await client.get("/docs")).text()
    named = re.findall(r'(?:src|href)="([^":]+)"', page)
    assert len(named) == 3

    for address in named:
        answered = await client.get(f"/{address}")
        assert answered.status == 200, address
        assert answered.content_type in ("text/css", "text/javascript"), address
        assert answered.headers["X-Content-Type-Options"] == "nosniff"
        assert "x-request-id" in answered.headers


def test_every_address_of_the_page_is_relative() -> None:
    """A proxy may serve the edge under a path of its own."""
    addresses = re.findall(r'(?:src|href)="([^"]+)"|url: "([^"]+)"', docs_page.PAGE + docs_page.START)

    assert len(addresses) == 5
    assert not [address for pair in addresses for address in pair if address.startswith(("/", "http"))]


async def test_a_slash_too_many_leads_back_to_the_page(client: Client) -> None:
    answered = await client.get("/docs/", allow_redirects=False)

    assert (answered.status, answered.headers["Location"]) == (308, "../docs")
    assert (await client.get("/docs/")).url.path == "/docs"


@pytest.mark.parametrize("name", ["swagger-editor.js", "..%2f__init__.py", "%2fetc%2fpasswd", "a/b", "swagger-ui.css/"])
async def test_no_other_file_is_given_out(client: Client, name: str) -> None:
    answered = await client.get(f"/docs/{name}")

    assert answered.status == 404
    assert (await answered.json())["error"]["type"] == "invalid_request_error"


def test_an_edge_does_not_import_what_comes_with_the_page() -> None:
    program = "import edge.app, sys; print({'swagger_ui', 'jinja2', 'yaml'} & set(sys.modules))"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "set()"
