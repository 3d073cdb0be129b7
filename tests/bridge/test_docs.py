"""`/docs` in a real browser, with nothing loaded from elsewhere."""

import subprocess
import sys

import pytest
from tests import browser

from penstock.v1 import flow_pb2
from penstock.values import to_struct


@pytest.fixture
async def chromium():
    async with browser.chromium() as started:
        yield started


@pytest.mark.parametrize("base_path", ["", "/api/predict/my_flow"])
async def test_swagger_ui_shows_and_calls_the_service(chromium, start_bridge, server, base_path):
    server.flows = [
        flow_pb2.Flow(flow="docs-qa", input_schema=to_struct({"properties": {"question": {"type": "string"}}}))
    ]
    bridge = await start_bridge(base_path=base_path, auth=False)
    origin = "http://{}:{}".format(*bridge.address)
    page = await chromium.new_page()
    complaints: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    await page.goto(f"{origin}{base_path}/docs")
    await page.wait_for_selector("#operations-FlowService-FlowService_Invoke_docs_qa")
    assert await page.title() == "Penstock API"

    operation = page.locator("#operations-FlowService-FlowService_ListFlows")
    await operation.locator(".opblock-summary-control").click()
    await operation.locator(".try-out__btn").click()
    await operation.locator(".execute").click()
    await operation.locator(".live-responses-table").wait_for()
    assert '"docs-qa"' in await operation.locator(".live-responses-table").inner_text()

    invoke = page.locator("#operations-FlowService-FlowService_Invoke_2")
    await invoke.locator(".opblock-summary-control").click()
    await invoke.locator(".try-out__btn").click()
    await invoke.locator(".execute").click()
    await invoke.locator(".live-responses-table").wait_for()
    assert "200" in await invoke.locator(".live-responses-table tbody .response-col_status").first.inner_text()

    assert complaints == []
    assert [url for url in requested if not url.startswith((origin, "data:"))] == []


async def test_the_page_and_its_files_carry_a_strict_policy(bridge, web):
    for path in ("/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/docs.js", "/docs/docs.css"):
        async with web.get(bridge, path, token=None) as answer:
            assert answer.status == 200
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_only_the_files_that_the_page_needs_are_served(bridge, web):
    for name in ("", "oauth2-redirect.html", "..%2Fdocs.py", "../app.py", "LICENSE", "swagger-ui-bundle.js.map"):
        async with web.get(bridge, f"/docs/{name}", token=None) as answer:
            assert answer.status == 404


def test_the_package_is_found_without_importing_it() -> None:
    code = (
        "import sys, penstock_bridge.docs as docs; list(docs.assets());"
        "print('django' in sys.modules, 'drf_spectacular_sidecar' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"], result.stderr
