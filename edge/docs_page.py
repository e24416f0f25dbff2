"""/openapi.json and /docs: the API described for programs and for people. Neither needs a key, or the internet.

The page is Swagger UI as the package swagger-ui-py ships it. Only files are taken from that package: importing it
would bring a template engine along.
"""

from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

from edge.dialect import JSON_TYPE
from edge.middleware import PLACE, Handler, get
from edge.openapi import document_bytes
from protocol.settings import Settings

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads and asks nobody else. The icons of Swagger UI are in its style sheet, as data."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PACKAGED = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}

# Every address is relative: a proxy may serve the edge under a path of its own.
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Trunkline</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Without `validatorUrl: null` Swagger UI would show the address of this document to a validator on the internet.
START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""


def routes(settings: Settings) -> dict[str, dict[str, Handler]]:
    """The paths of the description, which names the headers that are configured."""

    async def openapi(_: web.Request) -> web.Response:
        """GET /openapi.json."""
        hooks = settings.hooks.elevenlabs_secret_env is not None
        document = document_bytes(settings.edge.key_headers, settings.turn.call_id_headers, hooks=hooks)
        return web.Response(body=document, content_type=JSON_TYPE)

    return {
        "/openapi.json": get(openapi),
        "/docs": get(page),
        "/docs/": get(to_page),
        "/docs/start.js": get(start),
        **{f"/docs/{name}": get(packaged) for name in PACKAGED},
    }


async def page(_: web.Request) -> web.Response:
    """GET /docs."""
    return web.Response(text=PAGE, content_type="text/html", headers=HEADERS)


async def to_page(_: web.Request) -> web.Response:
    """GET /docs/."""
    return web.Response(status=308, headers={"Location": "../docs"})


async def start(_: web.Request) -> web.Response:
    """GET /docs/start.js."""
    return web.Response(text=START, content_type="text/javascript", headers=HEADERS)


async def packaged(request: web.Request) -> web.StreamResponse:
    """GET /docs/{file}: a part of Swagger UI."""
    name = request[PLACE].route.rpartition("/")[2]
    kind = f"{PACKAGED[name]}; charset=utf-8"  # not what this machine's table of types has
    return web.FileResponse(_packaged() / name, headers={**HEADERS, "Content-Type": kind})


def _packaged() -> Path:
    """Where Swagger UI lies. Raises ModuleNotFoundError: the package is not installed."""
    spec = find_spec("swagger_ui")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package swagger-ui-py is not installed; /docs is made of its files")
    return Path(spec.origin).parent / "static"
