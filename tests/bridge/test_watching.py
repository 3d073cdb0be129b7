"""A run's log over HTTP: where it begins, what is told, how it ends."""

import asyncio

import orjson
import pytest

from penstock import status as wire
from penstock.status import Code
from penstock.v1 import run_pb2

SSE, NDJSON = "text/event-stream", "application/x-ndjson"
INTERRUPTED = wire.build(
    Code.UNAVAILABLE, "RUN_INTERRUPTED", "The server ended before the run did", metadata={"run": "r"}, retry_after_s=1
)
ENDS = [
    (run_pb2.Run.FAILED, wire.build(Code.UNKNOWN, "FLOW_FAILED", "It failed", metadata={"node": "ask"}), 500),
    (run_pb2.Run.FAILED, wire.build(Code.INVALID_ARGUMENT, "INVALID_INPUT", "No", violations=[("a", "no")]), 400),
    (run_pb2.Run.CANCELED, wire.build(Code.CANCELLED, "RUN_CANCELED", "The run was cancelled"), 499),
    (run_pb2.Run.INTERRUPTED, INTERRUPTED, 503),
]


def path_of(speak, query: str = "") -> str:
    return f"/v1/runs/{speak.RUN}:watch{query}"


def frames_of(text: str) -> list[tuple[str, str]]:
    """The name and the id of each frame."""
    frames = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.split("\n\n")[:-1]]
    return [(frame.get("event", ""), frame["id"]) for frame in frames]


@pytest.mark.parametrize("accept", [None, "*/*", SSE, "text/*"])
async def test_a_run_is_told_as_events_unless_the_caller_asks_for_lines(bridge, server, web, speak, accept):
    async with web.get(bridge, path_of(speak), headers={"Accept": accept} if accept else {}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == f"{SSE}; charset=utf-8"
        assert answer.headers["Penstock-Run-Id"] == speak.RUN
        assert frames_of(await answer.text()) == [
            ("run_started", "1"),
            ("node_started", "2"),
            ("output_delta", "3"),
            ("output_delta", "4"),
            ("run_finished", "5"),
            ("done", "5"),
        ]
    assert server.seen[0].request == run_pb2.WatchRunRequest(run=speak.RUN, view=run_pb2.FULL)


async def test_lines_carry_the_same_events(bridge, web, speak):
    async with web.get(bridge, path_of(speak, "?afterSequence=3"), headers={"Accept": NDJSON}) as answer:
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert [(line["event"], line["id"]) for line in lines] == [("output_delta", 4), ("run_finished", 5), ("done", 5)]
    assert lines[-1]["data"] == {"run": speak.RUN, "status": "SUCCEEDED"}


async def test_a_log_is_no_json_document(bridge, server, web, speak, reason_of):
    async with web.get(bridge, path_of(speak), headers={"Accept": "application/json"}) as answer:
        assert reason_of(await answer.json()) == (406, "INVALID_ARGUMENT", "NOT_ACCEPTABLE")
    assert server.seen == []


async def test_a_browser_that_connects_again_goes_on_where_it_was(bridge, server, web, speak):
    url = path_of(speak, "?afterSequence=2")
    async with web.get(bridge, url, headers={"Accept": SSE}) as answer:
        assert frames_of(await answer.text())[0] == ("output_delta", "3")
    async with web.get(bridge, url, headers={"Accept": SSE, "Last-Event-ID": "3"}) as answer:
        assert frames_of(await answer.text())[0] == ("output_delta", "4")
    assert [seen.request.after_sequence for seen in server.seen] == [2, 3]


@pytest.mark.parametrize("query", ["", "?view=SIMPLE"])
async def test_a_reader_who_has_everything_gets_the_terminal_frame_alone(bridge, web, speak, query):
    async with web.get(bridge, path_of(speak, query), headers={"Last-Event-ID": "5"}) as answer:
        text = await answer.text()
    assert text == f'event: done\nid: 5\ndata: {{"run":"{speak.RUN}","status":"SUCCEEDED"}}\n\n'


async def test_the_simple_view_has_outputs_alone_and_its_ids_skip(bridge, server, web, speak):
    async with web.get(bridge, path_of(speak, "?view=SIMPLE")) as answer:
        assert frames_of(await answer.text()) == [("", "3"), ("", "4"), ("done", "5")]
    async with web.get(bridge, path_of(speak, "?view=SIMPLE"), headers={"Last-Event-ID": "3"}) as answer:
        assert frames_of(await answer.text()) == [("", "4"), ("done", "5")]
    assert {seen.request.view for seen in server.seen} == {run_pb2.SIMPLE}


@pytest.mark.parametrize("query", ["", "?view=SIMPLE"])
@pytest.mark.parametrize(("status", "error", "http"), ENDS)
async def test_a_watched_run_ends_in_the_bytes_that_its_caller_got(
    bridge, server, web, speak, query, status, error, http
):
    async def called(request, context):
        await speak.accept(context)
        yield speak.batch(speak.delta(2, answer="x"), speak.finished(3, status, error))
        await speak.fail(context, error)

    async def watched(request, context):
        await speak.accept(context)
        yield speak.watched(speak.delta(2, answer="x"), speak.finished(3, status, error))

    server.stream, server.watch = called, watched
    async with web.post(bridge, "/v1/flows/echo:invoke", json={}, headers={"Accept": SSE}) as answer:
        told = (await answer.text()).removesuffix("\n\n").rpartition("\n\n")[2]
    async with web.get(bridge, path_of(speak, query)) as answer:
        text = await answer.text()
    assert text.removesuffix("\n\n").rpartition("\n\n")[2] == told
    assert text.count("event: error\n") == 1
    assert "event: done" not in text
    assert orjson.loads(told.rpartition("data: ")[2])["error"]["code"] == http


@pytest.mark.parametrize("query", ["", "?view=SIMPLE"])
async def test_what_was_lost_with_a_server_is_told_in_the_terminal_frame(bridge, server, web, speak, reason_of, query):
    async def watched(request, context):
        await speak.accept(context)
        yield speak.watched(speak.delta(2, answer="x"))
        yield speak.watched(speak.finished(9, run_pb2.Run.INTERRUPTED, INTERRUPTED, lost_after=2))

    server.watch = watched
    async with web.get(bridge, path_of(speak, query), headers={"Accept": NDJSON}) as answer:
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    last = lines[-1]
    assert (last["event"], last["id"], last["data"]["lostAfter"]) == ("error", 9, 2)
    assert reason_of(last["data"]) == (503, "UNAVAILABLE", "RUN_INTERRUPTED")
    assert [line["data"].get("lostAfter") for line in lines if line["event"] == "run_finished"] == [2] * (not query)


async def test_a_run_of_which_everything_was_lost_says_so(bridge, server, web, speak):
    async def watched(request, context):
        await speak.accept(context)
        yield speak.watched(speak.finished(9, run_pb2.Run.INTERRUPTED, INTERRUPTED, lost_after=0))

    server.watch = watched
    async with web.get(bridge, path_of(speak), headers={"Accept": NDJSON}) as answer:
        assert orjson.loads((await answer.text()).splitlines()[-1])["data"]["lostAfter"] == 0


async def test_a_run_that_succeeded_is_done_even_if_the_stream_breaks_off_behind_its_end(bridge, server, web, speak):
    async def watched(request, context):
        await speak.accept(context)
        yield speak.watched(speak.finished(3))
        await speak.fail(context, wire.build(Code.UNAVAILABLE, "DRAINING", "Later"))

    server.watch = watched
    async with web.get(bridge, path_of(speak)) as answer:
        assert frames_of(await answer.text()) == [("run_finished", "3"), ("done", "3")]


async def test_a_stream_that_never_told_the_runs_end_is_no_success(bridge, server, web, speak, reason_of):
    async def watched(request, context):
        await speak.accept(context)
        yield speak.watched(speak.delta(1, answer="x"))

    server.watch = watched
    async with web.get(bridge, path_of(speak), headers={"Accept": NDJSON}) as answer:
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert [line["event"] for line in lines] == ["output_delta", "error"]
    assert reason_of(lines[-1]["data"]) == (500, "INTERNAL", "INTERNAL")


@pytest.mark.parametrize(
    ("code", "reason", "http"), [(Code.OUT_OF_RANGE, "CURSOR_EXPIRED", 400), (Code.NOT_FOUND, "RUN_NOT_FOUND", 404)]
)
async def test_a_watch_that_is_refused_is_an_ordinary_http_error(
    bridge, server, web, speak, reason_of, code, reason, http
):
    async def refuse(request, context):
        await speak.fail(context, wire.build(code, reason, "No"))
        yield speak.watched()

    server.watch = refuse
    async with web.get(bridge, path_of(speak), headers={"Last-Event-ID": "7"}) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert reason_of(await answer.json()) == (http, code.name, reason)


async def test_a_run_that_says_nothing_yet_is_answered_at_once(bridge, server, dial, speak):
    told = asyncio.Event()

    async def silent(request, context):
        await speak.accept(context)
        await told.wait()
        yield speak.watched(speak.finished(8))

    server.watch = silent
    raw = await dial(bridge)
    raw.send(f"GET {path_of(speak)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nLast-Event-ID: 7\r\n\r\n")
    assert (await raw.head()).startswith("HTTP/1.1 200 OK\r\n")
    told.set()
    assert b"event: done\nid: 8\n" in await raw.until(b"\r\n0\r\n\r\n")
