"""`Accept`, by the rules of RFC 9110 §12.5.1."""

import pytest

from penstock_bridge.errors import Problem
from penstock_bridge.negotiation import JSON, NDJSON, SSE, choose

UNARY, BOTH, STREAM = (JSON,), (JSON, SSE, NDJSON), (SSE, NDJSON)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("APPLICATION/JSON", JSON),
        ("application/*", JSON),
        ("text/*", SSE),
        ("text/event-stream", SSE),
        ("application/x-ndjson", NDJSON),
        ("text/event-stream;charset=utf-8", SSE),
        ('text/event-stream ; charset="UTF-8"', SSE),
        ("application/json, text/event-stream", JSON),
        ("text/event-stream, application/json", JSON),
        ("text/event-stream, */*", SSE),
        ("text/event-stream, */*;q=0.1", SSE),
        ("application/json;q=0.5, text/event-stream", SSE),
        ("application/json;q=0.5, text/event-stream;q=0.4", JSON),
        ("application/json;q=0, */*", SSE),
        ("application/*;q=0, text/*", SSE),
        ("*/*;q=0.1, application/x-ndjson;q=0.2", NDJSON),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/json;odata=verbose, text/event-stream;q=0.1", SSE),
        ('text/plain;a="x,application/json", text/event-stream', SSE),
        ("nonsense, */json, application/x-ndjson", NDJSON),
        ("application/json;q=2, application/x-ndjson", NDJSON),
        ("application/json;q=0.1234, application/x-ndjson", NDJSON),
        (" , ,text/event-stream;;q=1,", SSE),
    ],
)
def test_the_preferred_type_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose(accept, BOTH) == chosen


@pytest.mark.parametrize("accept", ["*/*", None, "text/*", "text/event-stream, application/json"])
def test_a_streaming_path_answers_events_where_it_may_choose(accept: str | None) -> None:
    assert choose(accept, STREAM) == SSE


@pytest.mark.parametrize(
    ("accept", "offers"),
    [
        ("text/html", BOTH),
        ("application/json", STREAM),
        ("text/event-stream", UNARY),
        ("*/*;q=0", BOTH),
        ("application/json;q=0", UNARY),
        ("application/json;charset=latin-1", UNARY),
        ("nonsense", BOTH),
        (",", BOTH),
        ("x" * 5000, BOTH),
    ],
)
def test_what_cannot_be_met_is_not_acceptable(accept: str, offers: tuple[str, ...]) -> None:
    with pytest.raises(Problem) as raised:
        choose(accept, offers)
    assert raised.value.http == 406
    assert all(offer in str(raised.value) for offer in offers)


async def test_406_comes_before_anything_runs(bridge, server, web, reason_of):
    for path, kind in (("/", "text/html"), ("/run", "image/*"), ("/v1/flows/x:invokeStream", "application/json")):
        async with web.post(bridge, path, headers={"Accept": kind}) as answer:
            assert reason_of(await answer.json()) == (406, "INVALID_ARGUMENT", "NOT_ACCEPTABLE")
    assert server.seen == []


async def test_several_accept_headers_count_as_one(bridge, dial):
    raw = await dial(bridge)
    raw.send(
        "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: application/json;q=0.1\r\n"
        "Accept: application/x-ndjson\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    assert b"Content-Type: application/x-ndjson\r\n" in await raw.rest()
