"""A plain proxy: it passes requests and bytes on and knows nothing of voice. What simulators drop calls on."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.platforms.serving import serving


@asynccontextmanager
async def plain_proxy(upstream_url: str) -> AsyncIterator[str]:
    """Its base URL; the upstream's is `upstream_url`."""
    async with aiohttp.ClientSession() as client:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            try:
                async with client.post(f"{upstream_url}/chat/completions", data=await request.read()) as told:
                    return await _streamed(request, told)
            except aiohttp.ClientError:
                return web.Response(status=502)

        async with serving([web.post("/v1/chat/completions", pass_on)]) as url:
            yield f"{url}/v1"


async def _streamed(request: web.Request, told: aiohttp.ClientResponse) -> web.StreamResponse:
    answer = web.StreamResponse(status=told.status, headers={"Content-Type": told.content_type})
    await answer.prepare(request)
    with contextlib.suppress(aiohttp.ClientError):  # what breaks there breaks here
        async for data in told.content.iter_any():
            await answer.write(data)
        await answer.write_eof()
        return answer
    if request.transport:
        request.transport.close()
    return answer
