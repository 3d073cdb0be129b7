"""Streams over HTTP: forms, ends, pings, cancellation."""

import asyncio

import aiohttp
import orjson
import pytest

from penstock import status as wire
from penstock.status import Code
from penstock.v1 import run_pb2
from penstock_bridge.app import Bridge
from penstock_bridge.config import BridgeConfig
from penstock_bridge.upstream import connect

SSE, NDJSON = "text/event-stream", "application/x-ndjson"


def accept(kind: str) -> dict[str, str]:
    return {"Accept": kind}


async def test_the_root_streams_the_pieces_of_the_outputs(bridge, server, web, speak):
    async with web.post(bridge, "/", json={}, headers=accept(SSE)) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == f"{SSE}; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache, no-transform"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["Chat-Session-Id"] == speak.SESSION
        assert answer.headers["Penstock-Run-Id"] == speak.RUN
        text = await answer.text()
    assert server.seen[0].request.view == run_pb2.SIMPLE
    assert text == (
        'id: 3\ndata: {"answer":"Hel"}\n\n'
        'id: 4\ndata: {"answer":"lo"}\n\n'
        f'event: done\nid: 5\ndata: {{"run":"{speak.RUN}","status":"SUCCEEDED"}}\n\n'
    )


@pytest.mark.parametrize("path", ["/run", "/v1/flows/echo:invoke", "/v1/flows/echo:invokeStream"])
async def test_every_other_path_streams_every_entry(bridge, server, web, speak, path):
    async with web.post(bridge, path, headers=accept(SSE)) as answer:
        frames = (await answer.text()).split("\n\n")
    assert server.seen[0].request.view == run_pb2.FULL
    assert [frame.split("\n")[:2] for frame in frames[:-1]] == [
        ["event: run_started", "id: 1"],
        ["event: node_started", "id: 2"],
        ["event: output_delta", "id: 3"],
        ["event: output_delta", "id: 4"],
        ["event: run_finished", "id: 5"],
        ["event: done", "id: 5"],
    ]
    assert frames[1].endswith('data: {"node":"ask"}')
    assert frames[2].endswith('data: {"outputs":{"answer":"Hel"}}')


async def test_ndjson_carries_the_same_objects(bridge, web, speak):
    async with web.post(bridge, "/", headers=accept(NDJSON)) as answer:
        assert answer.headers["Content-Type"] == NDJSON
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert lines == [
        {"event": "message", "id": 3, "data": {"answer": "Hel"}},
        {"event": "message", "id": 4, "data": {"answer": "lo"}},
        {"event": "done", "id": 5, "data": {"run": speak.RUN, "status": "SUCCEEDED"}},
    ]
    async with web.post(bridge, "/run", headers=accept(NDJSON)) as answer:
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert [line["event"] for line in lines][-2:] == ["run_finished", "done"]


async def test_a_view_that_the_caller_names_is_kept(bridge, server, web):
    body = {"view": "SIMPLE"}
    async with web.post(bridge, "/v1/flows/echo:invokeStream", json=body) as answer:
        assert (await answer.text()).startswith("id: 3\n")
    async with web.post(bridge, "/?view=FULL", headers=accept(SSE)) as answer:
        assert (await answer.text()).startswith("event: run_started\n")


async def test_an_error_before_acceptance_is_an_ordinary_http_error(bridge, server, web, speak, reason_of):
    async def refuse(request, context):
        await speak.fail(context, wire.build(Code.NOT_FOUND, "FLOW_NOT_FOUND", "There is no flow x"))
        yield speak.batch()

    server.stream = refuse
    for path in ("/", "/run", "/v1/flows/x:invokeStream"):
        async with web.post(bridge, path, headers=accept(SSE)) as answer:
            assert answer.status == 404
            assert answer.headers["Content-Type"] == "application/json"
            assert reason_of(await answer.json()) == (404, "NOT_FOUND", "FLOW_NOT_FOUND")


async def test_the_status_line_waits_for_acceptance_and_not_for_the_first_event(bridge, server, dial, speak):
    accepted, told = asyncio.Event(), asyncio.Event()

    async def slowly(request, context):
        await accepted.wait()
        await speak.accept(context)
        await told.wait()
        yield speak.batch(speak.delta(1, answer="x"))
        yield speak.batch(speak.finished(2))

    server.stream = slowly
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 2\r\n\r\n{{}}")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await raw.reader.readexactly(1)
    accepted.set()
    assert (await raw.head()).startswith("HTTP/1.1 200 OK\r\n")
    told.set()
    assert b'data: {"answer":"x"}' in await raw.until(b"\r\n0\r\n\r\n")


async def test_an_error_after_acceptance_is_the_terminal_frame(bridge, server, web, speak, reason_of):
    failure = wire.build(Code.UNKNOWN, "FLOW_FAILED", "The flow failed", metadata={"node": "ask"})

    async def break_down(request, context):
        await speak.accept(context)
        yield speak.batch(speak.delta(2, answer="x"))
        yield speak.batch(speak.finished(3, run_pb2.Run.FAILED, failure))
        await speak.fail(context, failure)

    server.stream = break_down
    for path, events in (("/", ["error"]), ("/run", ["output_delta", "run_finished", "error"])):
        async with web.post(bridge, path, headers=accept(SSE)) as answer:
            assert answer.status == 200
            text = await answer.text()
        names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
        assert names == events
        last = text.removesuffix("\n\n").rpartition("\n\n")[2].split("\n")
        assert last[1] == "id: 3"
        assert reason_of(orjson.loads(last[2].removeprefix("data: "))) == (500, "UNKNOWN", "FLOW_FAILED")


async def test_an_error_before_the_first_event_but_after_acceptance_is_a_frame(bridge, server, web, speak):
    async def break_down(request, context):
        await speak.accept(context)
        await speak.fail(context, wire.build(Code.CANCELLED, "RUN_CANCELED", "The run was cancelled"))
        yield speak.batch()

    server.stream = break_down
    async with web.post(bridge, "/", headers=accept(NDJSON)) as answer:
        assert answer.status == 200
        assert answer.headers["Penstock-Run-Id"] == speak.RUN
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert [(line["event"], line["id"]) for line in lines] == [("error", None)]
    assert lines[0]["data"]["error"]["code"] == 499


async def test_acceptance_is_seen_where_the_status_overtakes_the_initial_metadata(bridge, server, web, speak):
    # What grpc.aio shows of a stream whose status came before it read the initial metadata: no initial metadata.
    async def break_down(request, context):
        context.set_trailing_metadata(speak.ACCEPTED)
        await speak.fail(context, wire.build(Code.UNKNOWN, "FLOW_FAILED", "The flow failed"))
        yield speak.batch()

    server.stream = break_down
    async with web.post(bridge, "/", headers=accept(SSE)) as answer:
        assert answer.status == 200
        assert answer.headers["Chat-Session-Id"] == speak.SESSION
        assert answer.headers["Penstock-Run-Id"] == speak.RUN
        text = await answer.text()
    assert text.startswith("event: error\ndata: ")
    assert text.count("\n\n") == 1


async def test_a_stream_that_ended_well_without_a_message_names_its_run(bridge, server, web, speak):
    async def say_nothing(request, context):
        context.set_trailing_metadata(speak.ACCEPTED)
        for message in ():
            yield message

    server.stream = say_nothing
    async with web.post(bridge, "/", headers=accept(SSE)) as answer:
        assert answer.status == 200
        assert answer.headers["Penstock-Run-Id"] == speak.RUN


async def test_a_refusal_that_names_its_session_is_not_taken_for_acceptance(bridge, server, web, speak, reason_of):
    async def refuse(request, context):
        context.set_trailing_metadata(speak.ACCEPTED[:1])
        await speak.fail(context, wire.build(Code.ABORTED, "SESSION_BUSY", "The session is busy"))
        yield speak.batch()

    server.stream = refuse
    async with web.post(bridge, "/", headers=accept(SSE)) as answer:
        assert answer.headers["Chat-Session-Id"] == speak.SESSION
        assert (answer.status, reason_of(await answer.json())[2]) == (409, "SESSION_BUSY")


async def test_a_watched_runs_failure_is_told_though_the_call_ends_well(bridge, server, web, speak):
    failure = wire.build(Code.UNKNOWN, "FLOW_FAILED", "The flow failed")

    async def told(request, context):
        await speak.accept(context)
        yield speak.batch(speak.finished(3, run_pb2.Run.FAILED, failure))

    server.stream = told
    async with web.post(bridge, "/", headers=accept(SSE)) as answer:
        assert (await answer.text()).startswith("event: error\nid: 3\n")


async def test_each_event_leaves_at_once(bridge, server, dial, speak):
    more = asyncio.Event()

    async def steps(request, context):
        await speak.accept(context)
        for number in (1, 2, 3):
            yield speak.batch(speak.delta(number, answer=str(number)))
            await more.wait()
            more.clear()
        yield speak.batch(speak.finished(4))

    server.stream = steps
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    await raw.head()
    for number in (1, 2, 3):
        frame = f'id: {number}\ndata: {{"answer":"{number}"}}\n\n'.encode()
        assert await raw.until(b"\n\n") == b"%x\r\n%b" % (len(frame), frame)
        assert await raw.reader.readexactly(2) == b"\r\n"
        more.set()


async def test_the_events_of_a_message_leave_in_one_chunk(bridge, server, dial, speak):
    async def told(request, context):
        await speak.accept(context)
        yield speak.batch(*(speak.delta(number, answer="x") for number in range(1, 11)))
        yield speak.batch(speak.finished(11))

    server.stream = told
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    await raw.head()
    size = int(await raw.until(b"\r\n"), 16)
    assert (await raw.reader.readexactly(size)).count(b"\n\n") == 10


async def test_silence_is_filled_with_pings_on_sse_alone(start_bridge, server, web, speak):
    async def silent(request, context):
        await speak.accept(context)
        await asyncio.sleep(0.5)
        yield speak.batch(speak.finished(1))

    server.stream = silent
    bridge = await start_bridge(ping_interval_s=0.1)
    async with web.post(bridge, "/", headers=accept(SSE)) as answer:
        text = await answer.text()
    assert text.startswith(": ping\n\n: ping\n\n")
    assert text.endswith('"SUCCEEDED"}\n\n')
    async with web.post(bridge, "/", headers=accept(NDJSON)) as answer:
        assert len((await answer.text()).splitlines()) == 1


async def test_a_stream_that_talks_gets_no_pings(start_bridge, server, web, speak):
    async def talk(request, context):
        await speak.accept(context)
        for number in range(1, 21):
            yield speak.batch(speak.delta(number, answer="x"))
            await asyncio.sleep(0.03)
        yield speak.batch(speak.finished(21))

    server.stream = talk
    bridge = await start_bridge(ping_interval_s=0.4)
    async with web.post(bridge, "/", headers=accept(SSE)) as answer:
        assert ": ping" not in await answer.text()


async def rest_of(answer):
    """What comes before the cut, of an answer that is cut."""
    rest = b""
    try:
        while piece := await answer.content.readany():
            rest += piece
    except aiohttp.ClientPayloadError:
        return rest
    raise AssertionError(f"the answer ended in good order: {rest!r}")


@pytest.mark.parametrize("media_type", [SSE, NDJSON])
async def test_a_server_that_dies_cuts_the_stream_of_a_run(media_type, start_bridge, web, speak, server, reason_of):
    import grpc

    from penstock.v1 import flow_pb2_grpc

    dying = grpc.aio.server()
    flow_pb2_grpc.add_FlowServiceServicer_to_server(server, dying)
    port = dying.add_insecure_port("127.0.0.1:0")
    await dying.start()

    async def last_words(request, context):
        await speak.accept(context)
        yield speak.batch(speak.delta(1, answer="x"))
        await asyncio.sleep(3600)

    server.stream = last_words
    bridge = await start_bridge(f"127.0.0.1:{port}")
    async with web.post(bridge, "/", headers=accept(media_type)) as answer:
        told = await answer.content.readany()
        assert b"x" in told
        await dying.stop(0)
        told += await rest_of(answer)
    assert b"error" not in told
    assert b"done" not in told
    assert (b"\n: " in told) == (media_type == SSE)


async def test_an_entry_that_json_cannot_say_ends_the_stream_with_a_defect(bridge, server, web, speak, reason_of):
    impossible = speak.delta(2)
    impossible.output_delta.outputs.fields["a"].number_value = float("nan")

    async def told(request, context):
        await speak.accept(context)
        yield speak.batch(speak.delta(1, answer="x"))
        yield speak.batch(impossible)
        yield speak.batch(speak.finished(3))

    server.stream = told
    async with web.post(bridge, "/", headers=accept(NDJSON)) as answer:
        lines = [orjson.loads(line) for line in (await answer.text()).splitlines()]
    assert [line["event"] for line in lines] == ["message", "error"]
    assert reason_of(lines[1]["data"]) == (500, "INTERNAL", "INTERNAL")


async def test_a_channel_that_is_closed_under_its_calls_cuts_them(server, web, speak):
    async def endless(request, context):
        await speak.accept(context)
        yield speak.batch(speak.delta(1, answer="x"))
        await asyncio.sleep(3600)

    server.stream = endless
    config = BridgeConfig(http="127.0.0.1:0")
    channel = connect(server.target, config)
    bridge = Bridge(channel, config)
    await bridge.start()
    async with web.post(bridge, "/", headers=accept(NDJSON)) as answer:
        await answer.content.readline()
        await channel.close(None)
        assert await rest_of(answer) == b""
    await bridge.stop()


async def test_a_stream_serves_clients_of_http_1_0_to_the_connections_end(bridge, dial):
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.0\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    answer = await raw.rest()
    assert b"Transfer-Encoding" not in answer
    assert answer.endswith(b'"SUCCEEDED"}\n\n')


async def test_a_connection_that_streamed_takes_another_call(bridge, dial):
    raw = await dial(bridge)
    for _ in range(2):
        raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
        await raw.head()
        await raw.until(b"\r\n0\r\n\r\n")
