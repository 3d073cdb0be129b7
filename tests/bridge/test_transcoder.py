"""Any service with `google.api.http`, over HTTP."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import orjson
import pytest
from tests.bridge.library import library

from penstock_bridge.calls import RpcEndpoint
from penstock_bridge.config import BridgeConfig
from penstock_bridge.dispatch import Dispatcher
from penstock_bridge.listener import Listener
from penstock_bridge.methods import Method
from penstock_bridge.transcoder import routes
from penstock_bridge.upstream import connect

DEFERRAL = {"when": "hidden", "then": "Library.Read"}
Serve = Callable[..., Any]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves methods over Book: unary ones echo, streams tell the book once for each tag."""
    stops: list[Any] = []

    async def start(*rules: Any) -> Listener:
        methods = library(*rules)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_handlers(methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        config = BridgeConfig(http="127.0.0.1:0")
        channel = connect(f"127.0.0.1:{port}", config)
        dispatcher = Dispatcher(config)
        for route in routes(methods):
            endpoint = RpcEndpoint(channel, route, config)
            dispatcher.add(route.binding.http_method, route.binding.template, endpoint)
        listener = Listener(dispatcher, config)
        await listener.start()
        stops.extend((listener.stop, channel.close, lambda: server.stop(0)))
        return listener

    yield start
    for stop in stops:
        await stop()


def _handlers(methods: list[Method]) -> grpc.GenericRpcHandler:
    async def echo(request: Any, context: Any) -> Any:
        return request

    async def tell(request: Any, context: Any) -> AsyncIterator[Any]:
        for tag in request.tags:
            yield type(request)(title=tag, page_count=request.after)
        if request.hidden:
            await context.abort(grpc.StatusCode.NOT_FOUND, "x")

    def handler(method: Method) -> Any:
        form = {
            "request_deserializer": method.request.FromString,
            "response_serializer": method.response.SerializeToString,
        }
        if method.streams:
            return grpc.unary_stream_rpc_method_handler(tell, **form)
        return grpc.unary_unary_rpc_method_handler(echo, **form)

    service = methods[0].descriptor.containing_service.full_name
    return grpc.method_handlers_generic_handler(service, {m.descriptor.name: handler(m) for m in methods})


async def test_a_response_body_is_a_field_of_any_kind(serve, web):
    listener = await serve(
        {"post": "/whole", "body": "*", "additional_bindings": [
            {"post": "/title", "body": "*", "response_body": "title"},
            {"post": "/tags", "body": "*", "response_body": "tags"},
            {"post": "/author", "body": "*", "response_body": "author"},
            {"post": "/extra", "body": "*", "response_body": "extra"},
            {"custom": {"kind": "SEARCH", "path": "/title"}, "body": "*", "response_body": "title"},
        ]},
    )  # fmt: skip
    body = {"title": "t", "tags": ["a"], "author": {"name": "Ada"}, "extra": {"b": 1, "a": 2}}
    for path, expected in (
        ("/title", b'"t"'),
        ("/tags", b'["a"]'),
        ("/author", b'{"name":"Ada","bornIn":0}'),
        ("/extra", b'{"a":2,"b":1}'),
    ):
        async with web.post(listener, path, json=body) as answer:
            assert await answer.read() == expected
    async with web.request(listener, "SEARCH", "/title", json=body) as answer:
        assert await answer.read() == b'"t"'
    async with web.post(listener, "/whole", json=body) as answer:
        assert (await answer.json())["author"] == {"name": "Ada", "bornIn": 0}


async def test_a_stream_of_any_messages_is_told_message_by_message(serve, web):
    listener = await serve({"get": "/s", "streams": True})
    async with web.get(listener, "/s?tags=a&tags=b", headers={"Accept": "application/x-ndjson"}) as answer:
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert [(line["event"], line["id"], line["data"].get("title")) for line in lines] == [
        ("message", 1, "a"),
        ("message", 2, "b"),
        ("done", 2, None),
    ]
    async with web.get(listener, "/s?tags=a", headers={"Accept": "text/event-stream"}) as answer:
        text = await answer.text()
    assert text.startswith('id: 1\ndata: {"name":""')
    assert text.endswith("event: done\nid: 1\ndata: {}\n\n")


async def test_a_stream_that_tells_nothing_is_done_at_once(serve, web):
    listener = await serve({"get": "/s", "streams": True})
    async with web.get(listener, "/s") as answer:
        assert await answer.text() == '{"event":"done","id":null,"data":{}}\n'


async def test_a_stream_without_metadata_that_fails_first_is_an_http_error(serve, web):
    listener = await serve({"get": "/s", "streams": True})
    async with web.get(listener, "/s?hidden=true") as answer:
        assert answer.status == 500
    async with web.get(listener, "/s?hidden=true&tags=a") as answer:
        assert answer.status == 200
        assert '{"event":"error","id":1,' in await answer.text()


@pytest.mark.parametrize(
    ("query", "header", "after"),
    [
        ("", "7", 7),
        ("&after=3", "7", 7),
        ("&after=7", "3", 3),
        ("&after=3", "0", 0),
        ("&after=3", "", 3),
        ("&after=3", None, 3),
        ("", "2147483647", 2**31 - 1),
    ],
)
async def test_last_event_id_says_where_a_stream_begins_before_any_parameter(serve, web, query, header, after):
    listener = await serve({"get": "/s", "streams": True, "resumes_after": "after"})
    headers = {} if header is None else {"Last-Event-ID": header}
    async with web.get(listener, "/s?tags=a" + query, headers=headers) as answer:
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert lines[0]["data"]["pageCount"] == after
    assert [line["id"] for line in lines] == [after + 1, after + 1]


@pytest.mark.parametrize("header", ["x", "-1", "+1", "1.0", "1_0", "2147483648", "99999999999", "１"])
async def test_a_last_event_id_that_is_no_number_of_an_event_is_named(serve, web, reason_of, header):
    listener = await serve({"get": "/s", "streams": True, "resumes_after": "after"})
    async with web.get(listener, "/s?after=1&tags=a", headers={"Last-Event-ID": header}) as answer:
        body = await answer.json()
    assert reason_of(body) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert body["error"]["details"][1]["fieldViolations"][0]["field"] == "Last-Event-ID"


async def test_a_last_event_id_given_twice_is_refused(serve, dial):
    listener = await serve({"get": "/s", "streams": True, "resumes_after": "after"})
    raw = await dial(listener)
    raw.send("GET /s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nLast-Event-ID: 1\r\nLast-Event-ID: 2\r\n")
    raw.send("Connection: close\r\n\r\n")
    assert b"The header Last-Event-ID is given twice" in await raw.rest()


async def test_last_event_id_is_nothing_to_a_stream_that_cannot_resume(serve, web):
    listener = await serve({"get": "/s", "streams": True})
    async with web.get(listener, "/s?tags=a&after=3", headers={"Last-Event-ID": "x"}) as answer:
        assert '"pageCount":3' in await answer.text()


@pytest.mark.parametrize("name", ["x", "a b", "a/b", "a:read", "流", "%2F", "?#", "..."])
async def test_an_answer_before_its_work_is_done_says_where_to_ask_for_the_rest(serve, web, name):
    read = {"rpc": "Read", "get": "/b/{name}:read"}
    listener = await serve(read, {"post": "/b", "body": "*", "response_body": "title", "deferral": DEFERRAL})
    async with web.post(listener, "/b", json={"name": name, "title": "t", "hidden": True}) as answer:
        assert answer.status == 202
        assert (await answer.json())["name"] == name
        location = answer.headers["Location"]
    async with web.get(listener, location) as answer:
        assert (await answer.json())["name"] == name
    async with web.post(listener, "/b", json={"name": name, "title": "t"}) as answer:
        assert (answer.status, await answer.json()) == (200, "t")
        assert "Location" not in answer.headers


async def test_a_location_keeps_the_slashes_of_a_name_of_several_segments(serve, web):
    read = {"rpc": "Read", "get": "/b/{name=**}"}
    listener = await serve(read, {"post": "/b", "body": "*", "deferral": DEFERRAL})
    async with web.post(listener, "/b", json={"name": "a/b c/d", "hidden": True}) as answer:
        assert answer.headers["Location"] == "/b/a/b%20c/d"
