"""What docs/runs.md shows for browsers, in a browser whose connection is cut."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.async_api import Browser
from tests.browser import chromium
from tests.cli.line import Line
from tests.cli.shell import FLOWS
from tests.service import Service, penstock

PAGE = Path(__file__).parents[2] / "docs/runs.md"
WAIT_S = 20.0
FOLLOW = """(run) => {
  window.shown = []
  const show = (text) => shown.push(text)
  %s
  for (const name of ["done", "error"]) {
    source.addEventListener(name, (event) => { if (event.data) shown.push([name, source.readyState]) })
  }
}"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service, and a chat flow that takes its time."""
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with penstock("serve", "workers:talks", "--no-auth", *addresses, folder=tmp_path, cwd=FLOWS) as running:
        yield running


@pytest.fixture
def line(service: Service) -> Iterator[Line]:
    """A line to the service's HTTP side."""
    line = Line(service.http.removeprefix("http://"))
    yield line
    line.end()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with chromium() as started:
        yield started


async def shown(page: Any, count: int) -> list[Any]:
    """What the page shows, once it is so much."""
    await page.wait_for_function(f"shown.length >= {count}", timeout=WAIT_S * 1000)
    found: list[Any] = await page.evaluate("shown")
    return found


async def test_an_event_source_goes_on_where_it_was_and_stops_at_the_end(
    service: Service, line: Line, browser: Browser
) -> None:
    found = re.search(r"^```js\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    words = [f"{number} " for number in range(40)]
    asked = {"question": "".join(words)}
    accepted = await asyncio.to_thread(
        requests.post, f"{service.http}/run?options.background=true", json=asked, timeout=WAIT_S
    )
    page = await browser.new_page(bypass_csp=True)  # waiting for what the page shows evaluates text
    await page.goto(f"http://{line.address}/docs")
    await page.evaluate(FOLLOW % found[1], accepted.json()["run"])
    await shown(page, 3)
    line.cut()
    assert await shown(page, len(words) + 1) == [*words, ["done", 2]]
    await asyncio.sleep(0.5)
    assert len(await shown(page, 0)) == len(words) + 1
