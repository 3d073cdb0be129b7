"""What is bound to what, and what is refused at start-up."""

from typing import Any

import orjson
import pytest
from tests.bridge.library import library

from penstock_bridge.binding import InvalidBinding, bindings
from penstock_bridge.errors import Problem
from penstock_bridge.methods import contract_methods, descriptor_set
from penstock_bridge.router import Conflict
from penstock_bridge.templates import InvalidTemplate
from penstock_bridge.transcoder import routes


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


def deferred(
    when: str = "hidden", then: str = "Library.Read", read: dict[str, str] | None = None, streams: bool = False
) -> list[Any]:
    """A method that can answer before its work is done, and the one that tells of it later."""
    write = {"post": "/b", "body": "*", "streams": streams, "deferral": {"when": when, "then": then}}
    return [{"rpc": "Read"} | (read or {"get": "/b/{name}"}), write]


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
        ([{"get": "/b", "resumes_after": "after"}], InvalidBinding),
        ([{"get": "/b", "streams": True, "resumes_after": "nope"}], InvalidBinding),
        ([{"get": "/b", "streams": True, "resumes_after": "big"}], InvalidBinding),
        ([{"get": "/b", "streams": True, "resumes_after": "tags"}], InvalidBinding),
        ([{"get": "/b", "streams": True, "resumes_after": "author"}], InvalidBinding),
        (deferred(when="nope"), InvalidBinding),
        (deferred(when="author.nope"), InvalidBinding),
        (deferred(when="title"), InvalidBinding),
        (deferred(when="author"), InvalidBinding),
        (deferred(when=""), InvalidBinding),
        (deferred(then="Library.Nope"), InvalidBinding),
        (deferred(then="Read"), InvalidBinding),
        (deferred(then=""), InvalidBinding),
        (deferred(read={"post": "/b/{name}"}), InvalidBinding),
        (deferred(read={"get": "/b/{page_count}"}), InvalidBinding),
        (deferred(read={"get": "/b/*/{name}"}), InvalidBinding),
        (deferred(streams=True), InvalidBinding),
    ],
)
def test_a_mapping_that_contradicts_its_messages_stops_the_start(rules: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        routes(library(*rules))
