"""Any service with `google.api.http`: what is bound to what, and what is refused at start-up."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import orjson
import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pool, field_mask_pb2, wrappers_pb2  # noqa: F401 - the contract made here uses them
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from penstock.v1 import options_pb2
from penstock_bridge.binding import InvalidBinding, bindings
from penstock_bridge.calls import RpcEndpoint
from penstock_bridge.config import BridgeConfig
from penstock_bridge.dispatch import Dispatcher
from penstock_bridge.errors import Problem
from penstock_bridge.listener import Listener
from penstock_bridge.methods import Method, contract_methods, descriptor_set, find_methods
from penstock_bridge.router import Conflict
from penstock_bridge.templates import InvalidTemplate
from penstock_bridge.transcoder import routes
from penstock_bridge.upstream import connect

FIELD = FieldDescriptorProto
NUMBERS = iter(range(1, 10_000))

BOOK = {
    "name": "string",
    "title": "string",
    "page_count": "int32",
    "big": "int64",
    "ratio": "double",
    "hidden": "bool",
    "blob": "bytes",
    "genre": ".{package}.Genre",
    "tags": "string*",
    "genres": ".{package}.Genre*",
    "author": ".{package}.Author",
    "co_authors": ".{package}.Author*",
    "printed_at": ".google.protobuf.Timestamp",
    "age": ".google.protobuf.Duration",
    "mask": ".google.protobuf.FieldMask",
    "limit": ".google.protobuf.Int32Value",
    "extra": ".google.protobuf.Struct",
    "after_sequence": "int32",
}
AUTHOR = {"name": "string", "born_in": "int32", "mentor": ".{package}.Author"}


def library(*rpcs: Any) -> list[Method]:
    """Methods over Book, each given by its rules: a package of its own, for descriptors cannot be taken back."""
    package = f"penstock_test.library{next(NUMBERS)}"
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    file.dependency.extend(
        f"google/protobuf/{n}.proto" for n in ("timestamp", "duration", "field_mask", "wrappers", "struct")
    )
    genre = file.enum_type.add(name="Genre")
    for number, name in enumerate(("GENRE_UNSPECIFIED", "NOVEL", "ESSAY")):
        genre.value.add(name=name, number=number)
    for message, fields in (("Book", BOOK), ("Author", AUTHOR)):
        target = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(fields.items(), start=1):
            _field(target, name, number, kind.format(package=package))
    service = file.service.add(name="Library")
    for rpc in rpcs:
        rpc = dict(rpc)
        method = service.method.add(name=rpc.pop("rpc", f"Call{len(service.method)}"))
        method.input_type = method.output_type = f".{package}.Book"
        method.server_streaming = rpc.pop("streams", False)
        method.client_streaming = rpc.pop("client_streaming", False)
        method.options.Extensions[options_pb2.negotiates] = rpc.pop("negotiates", "")
        method.options.Extensions[annotations_pb2.http].CopyFrom(http_pb2.HttpRule(**rpc))
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return list(find_methods(pool, [file.name]))


def _field(target: Any, name: str, number: int, kind: str) -> None:
    repeated = kind.endswith("*")
    kind = kind.removesuffix("*")
    added = target.field.add(name=name, number=number)
    added.label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
    if kind.startswith("."):
        added.type_name = kind
        added.type = FIELD.TYPE_ENUM if kind.endswith(".Genre") else FIELD.TYPE_MESSAGE
    else:
        added.type = getattr(FIELD, f"TYPE_{kind.upper()}")


def bind(rule: dict[str, Any], path: str = "", query: str = "", body: bytes = b"") -> Any:
    (binding,) = bindings(library(rule)[0])
    return binding.bind(path[1:].split("/") if path else [], query, body)


def test_every_rpc_of_the_contract_is_found() -> None:
    found = [(r.binding.http_method, r.binding.path) for r in routes(contract_methods(descriptor_set()))]
    assert ("POST", "/") in found
    assert ("POST", "/v1/flows/{flow}:invokeStream") in found
    assert len(found) >= 6


def test_the_query_binds_every_kind_of_field_in_both_spellings() -> None:
    query = (
        "title=a+b%20c&page_count=7&big=9223372036854775807&ratio=1.5e3&hidden=true&blob=_-8&genre=NOVEL&tags=x&tags=y&genres=1&genres=ESSAY"
        "&author.name=Ada&author.bornIn=1815&author.mentor.born_in=1780&printedAt=2026-11-23T15:30:00Z&age=1.5s"
        "&mask=title,tags&limit=0"
    )
    book = bind({"get": "/b"}, query=query)
    assert (book.title, book.page_count, book.big, book.ratio) == ("a b c", 7, 2**63 - 1, 1500.0)
    assert (book.hidden, book.blob, book.genre) == (True, b"\xff\xef", 1)
    assert (list(book.tags), list(book.genres)) == (["x", "y"], [1, 2])
    assert (book.author.name, book.author.born_in, book.author.mentor.born_in) == ("Ada", 1815, 1780)
    assert (book.printed_at.seconds, book.age.nanos) == (1795447800, 500_000_000)
    assert list(book.mask.paths) == ["title", "tags"]
    assert book.HasField("limit")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("nope=1", "nope"),
        ("author.nope=1", "author.nope"),
        ("author=x", "author"),
        ("coAuthors.name=x", "coAuthors.name"),
        ("extra=x", "extra"),
        ("extra.fields=x", "extra.fields"),
        ("title.length=1", "title.length"),
        ("title=a&title=b", "title"),
        ("pageCount=1&page_count=2", "page_count"),
        ("pageCount=x", "pageCount"),
        ("pageCount=", "pageCount"),
        ("pageCount=1.5", "pageCount"),
        ("hidden=1", "hidden"),
        ("genre=POEM", "genre"),
        ("genre=99", "genre"),
        ("blob=*", "blob"),
        ("printedAt=now", "printedAt"),
        ("limit=x", "limit"),
        ("=1", ""),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(query: str, name: str) -> None:
    with pytest.raises(Problem) as raised:
        bind({"get": "/b"}, query=query)
    assert raised.value.http == 400
    if name:
        assert orjson.loads(raised.value.body())["error"]["details"][1]["fieldViolations"][0]["field"] == name


@pytest.mark.parametrize("query", ["title=%", "title=%zz", "title=%ff", "%ff=1"])
def test_a_query_that_is_no_text_is_refused(query: str) -> None:
    with pytest.raises(Problem):
        bind({"get": "/b"}, query=query)


def test_what_path_and_body_bind_is_no_parameter() -> None:
    rule = {"post": "/b/{name}", "body": "author"}
    for query in ("name=x", "author.name=x"):
        with pytest.raises(Problem):
            bind(rule, "/b/x", query)
    with pytest.raises(Problem, match="belongs into the body"):
        bind({"post": "/b", "body": "*"}, query="title=x")


def test_path_and_body_reach_into_messages() -> None:
    book = bind(
        {"patch": "/b/{author.name}/{page_count}/{hidden}/{genre}", "body": "*"}, "/b/Ada/3/true/NOVEL", body=b"{}"
    )
    assert (book.author.name, book.page_count, book.hidden, book.genre) == ("Ada", 3, True, 1)
    book = bind({"post": "/b/{name=a/*}", "body": "author"}, "/b/a/x", "title=t", b'{"bornIn":1}')
    assert (book.name, book.title, book.author.born_in) == ("a/x", "t", 1)
    assert list(bind({"post": "/b", "body": "tags"}, body=b'["a","b"]').tags) == ["a", "b"]
    assert bind({"post": "/b", "body": "title"}, body=b'"a"').title == "a"
    assert bind({"put": "/b", "body": "extra"}, body=b'{"a":1}').extra.fields["a"].number_value == 1


def test_a_path_value_of_the_wrong_type_is_named() -> None:
    with pytest.raises(Problem, match="page_count"):
        bind({"get": "/b/{page_count}"}, "/b/x")


def test_a_body_that_says_what_the_path_says_is_no_contradiction() -> None:
    rule = {"post": "/b/{author.name}", "body": "*"}
    assert bind(rule, "/b/Ada", body=b'{"author":{"name":"Ada"}}').author.name == "Ada"
    with pytest.raises(Problem, match="contradicts"):
        bind(rule, "/b/Ada", body=b'{"author":{"name":"Bob"}}')


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        ([{"get": "/b/{nope}"}], InvalidBinding),
        ([{"get": "/b/{author}"}], InvalidBinding),
        ([{"get": "/b/{author.nope}"}], InvalidBinding),
        ([{"get": "/b/{title.x}"}], InvalidBinding),
        ([{"get": "/b/{tags}"}], InvalidBinding),
        ([{"get": "/b/{co_authors.name}"}], InvalidBinding),
        ([{"get": "/b/{printed_at}"}], InvalidBinding),
        ([{"get": "/b/{name}/{name}"}], InvalidTemplate),
        ([{"get": "b"}], InvalidTemplate),
        ([{"post": "/b", "body": "nope"}], InvalidBinding),
        ([{"post": "/b/{title}", "body": "title"}], InvalidBinding),
        ([{"get": "/b", "response_body": "nope"}], InvalidBinding),
        ([{}], InvalidBinding),
        ([{"custom": {"kind": "*", "path": "/b"}}], InvalidBinding),
        ([{"get": "/b/{name}"}, {"get": "/b/{title}"}], Conflict),
        ([{"get": "/b", "additional_bindings": [{"get": "/b"}]}], Conflict),
        (
            [{"get": "/b", "additional_bindings": [{"get": "/c", "additional_bindings": [{"get": "/d"}]}]}],
            InvalidBinding,
        ),
        ([{"get": "/b", "client_streaming": True}], ValueError),
        ([{"get": "/b", "negotiates": "Nope", "streams": True}], InvalidBinding),
        ([{"rpc": "Read", "get": "/b"}, {"get": "/c", "negotiates": "Read"}], InvalidBinding),
    ],
)
def test_a_mapping_that_contradicts_its_messages_stops_the_start(rules: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        routes(library(*rules))


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
            yield type(request)(title=tag, page_count=request.after_sequence)
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


async def test_last_event_id_says_where_to_resume_unless_a_parameter_does(serve, web, reason_of):
    listener = await serve({"get": "/s", "streams": True})
    for query, header, sequence in (("", "7", 7), ("&afterSequence=3", "7", 3), ("", "", 0)):
        async with web.get(listener, "/s?tags=a" + query, headers={"Last-Event-ID": header}) as answer:
            assert f'"pageCount":{sequence}' in await answer.text()
    for header in ("x", "-1", "2147483648", "99999999999", "１"):
        headers = {"Last-Event-ID": header}
        async with web.get(listener, "/s", headers=headers) as answer:
            assert reason_of(await answer.json()) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
