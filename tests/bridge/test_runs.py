"""Runs over HTTP: started in the background, found, listed, cancelled."""

import grpc
import pytest

from penstock import status as wire
from penstock.status import Code
from penstock.v1 import flow_pb2_grpc, run_pb2


def queued(run: str):
    async def accept(request, context):
        await context.send_initial_metadata((("penstock-run-id", "r" * 32),))
        return run_pb2.Run(run=run, status=run_pb2.Run.QUEUED, outputs={"answer": "never shown alone"})

    return accept


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/flows/echo:invoke", {"options": {"background": True}}),
        ("/?options.background=true", {}),
        ("/run?options.background=true", {}),
    ],
)
@pytest.mark.parametrize("base_path", ["", "/api/predict/my_flow"])
async def test_a_run_in_the_background_is_answered_with_its_address(start_bridge, server, web, base_path, path, body):
    server.invoke = queued("r" * 32)
    bridge = await start_bridge(base_path=base_path)
    async with web.post(bridge, base_path + path, json=body) as answer:
        assert answer.status == 202
        assert answer.headers["Location"] == f"{base_path}/v1/runs/{'r' * 32}"
        assert answer.headers["Penstock-Run-Id"] == "r" * 32
        assert answer.headers["Content-Type"] == "application/json"
        run = await answer.json()
    assert (run["run"], run["status"]) == ("r" * 32, "QUEUED")
    assert server.seen[0].request.options.background
    async with web.get(bridge, answer.headers["Location"]) as answer:
        assert (await answer.json())["run"] == "r" * 32


async def test_a_form_starts_a_run_in_the_background_too(bridge, server, web):
    server.invoke = queued("r" * 32)
    form = b'--b\r\nContent-Disposition: form-data; name="q"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with web.post(bridge, "/?options.background=true", data=form, headers=headers) as answer:
        assert answer.status == 202


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/flows/echo:invoke", {"options": {"background": False}}), ("/?options.background=false", {}), ("/run", {})],
)
async def test_any_other_run_is_answered_when_it_has_ended(bridge, web, path, body):
    async with web.post(bridge, path, json=body) as answer:
        assert answer.status == 200
        assert "Location" not in answer.headers


async def test_a_run_in_the_background_that_is_refused_is_an_error_as_any(bridge, server, web, speak, reason_of):
    async def refuse(request, context):
        await speak.fail(context, wire.build(Code.ABORTED, "SESSION_BUSY", "Busy"))

    server.invoke = refuse
    async with web.post(bridge, "/?options.background=true") as answer:
        assert "Location" not in answer.headers
        assert reason_of(await answer.json()) == (409, "ABORTED", "SESSION_BUSY")


async def test_whether_a_stream_may_run_in_the_background_is_the_servers_to_say(bridge, server, web, speak, reason_of):
    async def refuse(request, context):
        assert request.options.background
        await speak.fail(context, wire.build(Code.INVALID_ARGUMENT, "INVALID_REQUEST", "No background for a stream"))
        yield speak.batch()

    server.stream = refuse
    headers = {"Accept": "text/event-stream"}
    async with web.post(bridge, "/?options.background=true", headers=headers) as answer:
        assert reason_of(await answer.json()) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")


async def test_a_page_of_another_origin_may_read_the_address(start_bridge, server, web):
    server.invoke = queued("r" * 32)
    bridge = await start_bridge(cors_origins=("https://app.example",))
    headers = {"Origin": "https://app.example"}
    async with web.post(bridge, "/?options.background=true", headers=headers) as answer:
        assert "Location" in answer.headers["Access-Control-Expose-Headers"].split(", ")


async def test_runs_are_read_listed_and_cancelled(bridge, server, web, speak):
    async with web.get(bridge, "/v1/runs/a%2Fb%3Awatch") as answer:
        assert (await answer.json())["run"] == "a/b:watch"
    query = "?status=RUNNING&session=s&flow=f&pageSize=3&startTime=2026-11-23T15:30:00Z"
    async with web.get(bridge, "/v1/runs" + query) as answer:
        assert [run["run"] for run in (await answer.json())["runs"]] == [speak.RUN]
    asked = server.seen[-1].request
    assert (asked.status, asked.session, asked.flow, asked.page_size) == (run_pb2.Run.RUNNING, "s", "f", 3)
    assert asked.start_time.seconds == 1795447800
    for options in ({}, {"json": {}}):
        async with web.post(bridge, "/v1/runs/x:cancel", **options) as answer:
            assert (await answer.json())["status"] == "CANCELED"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/runs/x"), ("GET", "/v1/runs"), ("POST", "/v1/runs/x:cancel"), ("GET", "/v1/runs/x:watch")],
)
async def test_a_server_without_runs_says_that_it_offers_none(start_bridge, server, web, reason_of, method, path):
    older = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    flow_pb2_grpc.add_FlowServiceServicer_to_server(server, older)
    port = older.add_insecure_port("127.0.0.1:0")
    await older.start()
    bridge = await start_bridge(f"127.0.0.1:{port}")
    async with web.request(bridge, method, path) as answer:
        assert reason_of(await answer.json()) == (501, "UNIMPLEMENTED", "METHOD_NOT_FOUND")
    await older.stop(0)
