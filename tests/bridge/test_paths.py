"""Unknown paths, wrong methods, the base path, probes, CORS."""

import asyncio
import socket

import grpc
import pytest
from grpc_health.v1 import health_pb2


async def test_an_unknown_path_is_404_with_a_hint(bridge, web, reason_of):
    for path in ("/nothing", "/v1", "/v1/flows/", "/run/", "//", "/v1/flows/a/b", "/v1//flows", "/RUN", "/%72un", "/?"):
        async with web.get(bridge, path) as answer:
            body = await answer.json()
        if path == "/?":
            assert answer.status == 405
            continue
        assert reason_of(body) == (404, "NOT_FOUND", "PATH_NOT_FOUND"), path
        assert "/docs" in body["error"]["message"]


async def test_a_wrong_method_is_405_with_those_that_there_are(bridge, web, reason_of):
    for method, path, allowed in (
        ("GET", "/", "POST"),
        ("PUT", "/run", "POST"),
        ("DELETE", "/v1/flows", "GET, HEAD"),
        ("OPTIONS", "/v1/flows/a", "GET, HEAD"),
        ("PATCH", "/v1/flows/a:invoke", "POST"),
        ("TRACE", "/healthz", "GET, HEAD"),
        ("HEAD", "/v1/flows/a:invokeStream", "POST"),
    ):
        async with web.request(bridge, method, path) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == allowed
            if method != "HEAD":
                assert reason_of(await answer.json()) == (405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED")


async def test_a_base_path_shifts_every_route(start_bridge, web):
    bridge = await start_bridge(base_path="/api/predict/my_flow/")
    for method, path in (
        ("POST", ""),
        ("POST", "/"),
        ("POST", "/run"),
        ("GET", "/v1/flows"),
        ("POST", "/v1/flows/a:invoke"),
        ("GET", "/docs"),
        ("GET", "/docs/docs.js"),
        ("GET", "/openapi.json"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    ):
        async with web.request(bridge, method, "/api/predict/my_flow" + path) as answer:
            assert answer.status == 200, path
    for path in ("/", "/run", "/v1/flows", "/docs", "/api/predict/my_flowx", "/api/predict"):
        async with web.get(bridge, path) as answer:
            assert answer.status == 404, path


async def test_probes_answer_without_the_base_path_too(start_bridge, web):
    bridge = await start_bridge(base_path="/x")
    for path in ("/healthz", "/readyz"):
        async with web.get(bridge, path, token=None) as answer:
            assert answer.status == 200


async def test_ready_means_that_the_server_is(start_bridge, server, web, reason_of):
    bridge = await start_bridge()
    async with web.get(bridge, "/readyz", token=None) as answer:
        assert await answer.json() == {"status": "READY"}
    await server.ready.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    async with web.get(bridge, "/readyz", token=None) as answer:
        assert answer.status == 503
    async with web.get(bridge, "/healthz", token=None) as answer:
        assert await answer.json() == {"status": "ALIVE"}


async def test_without_a_server_the_bridge_is_alive_and_not_ready(start_bridge, web, reason_of):
    bridge = await start_bridge("127.0.0.1:1")
    async with web.get(bridge, "/healthz", token=None) as answer:
        assert answer.status == 200
    for method, path in (("GET", "/readyz"), ("POST", "/"), ("GET", "/openapi.json")):
        async with web.request(bridge, method, path) as answer:
            assert reason_of(await answer.json()) == (503, "UNAVAILABLE", "SERVER_UNREACHABLE")
            assert answer.headers["Retry-After"] == "1"


async def test_a_server_that_does_not_answer_is_not_waited_for(start_bridge, web):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bridge = await start_bridge(f"127.0.0.1:{silent.getsockname()[1]}", ready_timeout_s=0.3)
        async with web.get(bridge, "/readyz", token=None) as answer:
            assert answer.status in (503, 504)


async def test_a_server_that_comes_back_is_found_again(start_bridge, server, web):
    from penstock.v1 import flow_pb2_grpc

    def make() -> grpc.aio.Server:
        made = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        flow_pb2_grpc.add_FlowServiceServicer_to_server(server, made)
        return made

    first = make()
    port = first.add_insecure_port("127.0.0.1:0")
    await first.start()
    bridge = await start_bridge(f"127.0.0.1:{port}", reconnect_backoff_s_max=0.2)
    async with web.post(bridge, "/") as answer:
        assert answer.status == 200
    await first.stop(0)
    async with web.post(bridge, "/") as answer:
        assert answer.status == 503
    second = make()
    second.add_insecure_port(f"127.0.0.1:{port}")
    await second.start()
    async with asyncio.timeout(10):
        while True:
            async with web.post(bridge, "/") as answer:
                if answer.status == 200:
                    break
            await asyncio.sleep(0.05)
    await second.stop(0)


async def test_cors_is_off_by_default(bridge, web):
    async with web.get(bridge, "/v1/flows", headers={"Origin": "https://a.example"}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    async with web.request(bridge, "OPTIONS", "/", headers=preflight) as answer:
        assert answer.status == 405


@pytest.mark.parametrize(("origins", "allowed"), [(("https://a.example",), "https://a.example"), (("*",), "*")])
async def test_an_allowed_origin_may_ask_and_read(start_bridge, web, origins, allowed):
    bridge = await start_bridge(cors_origins=origins)
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    async with web.request(bridge, "OPTIONS", "/v1/flows/a:invoke", token=None, headers=preflight) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == allowed
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert "Chat-Session-Id" in answer.headers["Access-Control-Allow-Headers"]
        assert "Content-Length" not in answer.headers
    for accept in ("application/json", "text/event-stream"):
        headers = {"Origin": "https://a.example", "Accept": accept}
        async with web.post(bridge, "/", json={}, headers=headers) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == allowed
            assert "Penstock-Run-Id" in answer.headers["Access-Control-Expose-Headers"]
            await answer.read()
    async with web.post(bridge, "/nothing", headers={"Origin": "https://a.example"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == allowed


async def test_another_origin_gets_no_permission_and_caches_are_told(start_bridge, web):
    bridge = await start_bridge(cors_origins=("https://a.example",))
    preflight = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
    async with web.request(bridge, "OPTIONS", "/", headers=preflight) as answer:
        assert answer.status == 405
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with web.get(bridge, "/v1/flows") as answer:
        assert answer.headers["Vary"] == "Origin"
