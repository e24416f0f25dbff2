"""/docs as a person uses it: in a real browser, against a real edge that wants a key."""

import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.broker.line_fixture import START_S, RealLine, real_line

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
KEY = "sk-caller-3d"
CHAT = "#operations-chat-createChatCompletion"
RESPONSES = "#operations-responses-createResponse"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(BROWSER is None, reason=f"no browser on PATH: none of {', '.join(BROWSERS)}"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealLine]:
    """An edge that demands a key, and a worker."""
    async with real_line(tmp_path_factory.mktemp("line"), env={"TRUNKLINE_API_KEYS": f"desk:{KEY}"}) as line:
        line.add("edge")
        line.add("worker")
        await line.ready()
        yield line
        await line.idle()


class Visit:
    """The page, open; what the browser asked for, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def authorize(self, key: str) -> None:
        """Type the key where the page asks for one."""
        await self.page.click(".auth-wrapper .authorize")
        bearer = self.page.locator(".auth-container").first
        await bearer.locator("input").fill(key)
        await bearer.locator("button.authorize").click()
        await self.page.click("button.btn-done")

    async def send(self, example: str, *, operation: str = CHAT) -> tuple[str, str]:
        """Send one of the examples of an operation; the status and the body that the page then shows."""
        shown = self.page.locator(operation)
        if not await shown.locator(".opblock-body").count():
            await shown.locator(".opblock-summary-control").click()
        await shown.locator(".opblock-section-request-body select.examples-select-element").select_option(label=example)
        await shown.locator("button.execute").click()
        answer = shown.locator(".live-responses-table tbody")
        body = answer.locator("pre").first
        await body.wait_for()
        return await answer.locator(".response-col_status").inner_text(), await body.inner_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for all tests; its sandbox does not run where tests run as root."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visit(line: RealLine, browser: Browser) -> AsyncIterator[Visit]:
    """The page, in a profile of its own: nothing is cached, no key is known."""
    page = await browser.new_page()
    page.set_default_timeout(START_S * 1000)
    visit = Visit(page)
    await page.goto(f"{line.edges[0].url}/docs")
    await page.wait_for_selector(CHAT)
    yield visit
    await page.close()


async def test_the_page_shows_every_operation(visit: Visit, line: RealLine) -> None:
    document: dict[str, Any] = await (await visit.page.request.get(f"{line.edges[0].url}/openapi.json")).json()
    paths = [path for path, methods in document["paths"].items() for _ in methods]

    shown = await visit.page.locator(".opblock-summary-path").evaluate_all("all => all.map(one => one.dataset.path)")

    assert sorted(shown) == sorted(paths)
    assert await visit.page.locator(".errors-wrapper").count() == 0


async def test_a_request_sent_from_the_page_is_answered(visit: Visit) -> None:
    await visit.authorize(KEY)

    status, body = await visit.send("One body")

    assert status.split()[0] == "200"
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello!"


async def test_a_stream_asked_for_from_the_page_is_shown(visit: Visit) -> None:
    await visit.authorize(KEY)

    status, body = await visit.send("A stream")

    assert status.split()[0] == "200"
    assert body.strip().endswith("data: [DONE]")


async def test_a_response_asked_for_from_the_page_is_shown(visit: Visit) -> None:
    await visit.authorize(KEY)

    status, body = await visit.send("One body", operation=RESPONSES)

    assert status.split()[0] == "200"
    assert json.loads(body)["output"][0]["content"][0]["text"] == "Hello!"


async def test_a_response_that_goes_on_from_none_is_refused_on_the_page(visit: Visit) -> None:
    """The example has the place of an id, and no id."""
    await visit.authorize(KEY)

    status, body = await visit.send("What follows a response: put in its id", operation=RESPONSES)

    assert status.split()[0] == "400"
    assert json.loads(body)["error"]["code"] == "previous_response_not_found"


async def test_without_a_key_the_page_shows_the_error(visit: Visit) -> None:
    status, body = await visit.send("One body")

    assert status.split()[0] == "401"
    assert json.loads(body)["error"]["message"].startswith("no API key came with the request")


async def test_the_browser_asks_nobody_but_the_edge_and_its_policy_stops_nothing(visit: Visit, line: RealLine) -> None:
    await visit.authorize(KEY)
    await visit.send("A tool to call")
    await visit.page.click(".models-control")
    await expect(visit.page.locator(".models")).to_contain_text("ChatCompletionChunk")

    assert {url for url in visit.asked if not url.startswith((f"{line.edges[0].url}/", "data:"))} == set()
    assert f"{line.edges[0].url}/v1/chat/completions" in visit.asked
    assert visit.complaints == []
