"""Clients that leave, and clients that read slowly or not at all."""

import asyncio

from penstock_bridge.outlet import Outlet

SSE = "text/event-stream"


async def endless(request, context):
    await context.send_initial_metadata((("penstock-run-id", "r" * 32),))
    await asyncio.sleep(3600)
    yield None


async def test_a_client_that_leaves_a_silent_stream_cancels_the_call(bridge, server, dial, caplog):
    server.stream = endless
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    await raw.head()
    raw.writer.close()
    async with asyncio.timeout(5):
        await server.cancelled.wait()
    assert [record for record in caplog.records if not record.name.startswith("grpc")] == []


async def test_a_client_that_leaves_before_acceptance_cancels_the_call(bridge, server, dial):
    async def never(request, context):
        await asyncio.sleep(3600)
        yield None

    server.stream = never
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    await server.called.wait()
    raw.writer.close()
    async with asyncio.timeout(5):
        await server.cancelled.wait()


async def test_a_client_that_leaves_a_unary_call_cancels_it(bridge, server, dial):
    async def never(request, context):
        await asyncio.sleep(3600)

    server.invoke = never
    raw = await dial(bridge)
    raw.send("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Length: 0\r\n\r\n")
    await server.called.wait()
    raw.writer.close()
    async with asyncio.timeout(5):
        await server.cancelled.wait()


async def test_a_client_that_reads_nothing_holds_little_and_is_dropped(start_bridge, server, dial, speak, caplog):
    produced = 0

    async def flood(request, context):
        nonlocal produced
        await speak.accept(context)
        while True:
            produced += 1
            yield speak.batch(speak.delta(produced, answer="x" * 1000))

    server.stream = flood
    bridge = await start_bridge(write_timeout_s=1)
    raw = await dial(bridge, receive_buffer_bytes=4096)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    async with asyncio.timeout(10):
        await server.cancelled.wait()
    # Kernel buffers of both ends and gRPC's window included; the bridge's own part is `write_buffer_bytes`.
    assert produced * 1000 < 400_000
    assert [record for record in caplog.records if not record.name.startswith("grpc")] == []


async def test_a_client_that_reads_nothing_is_looked_at_no_more_often_than_it_would_be_pinged(
    start_bridge, server, dial, speak, monkeypatch
):
    ticks = []
    tick = Outlet._tick
    monkeypatch.setattr(Outlet, "_tick", lambda outlet: (ticks.append(outlet), tick(outlet)))

    async def flood(request, context):
        await speak.accept(context)
        for number in range(1, 2000):
            yield speak.batch(speak.delta(number, answer="x" * 1000))

    server.stream = flood
    bridge = await start_bridge(ping_interval_s=0.2)
    raw = await dial(bridge, receive_buffer_bytes=4096)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    await raw.head()
    await asyncio.sleep(1.1)
    assert 1 <= len(ticks) <= 6


async def test_a_slow_client_loses_nothing(start_bridge, server, dial, speak):
    async def told(request, context):
        await speak.accept(context)
        for number in range(1, 301):
            yield speak.batch(speak.delta(number, answer="x" * 1000))
        yield speak.batch(speak.finished(301))

    server.stream = told
    bridge = await start_bridge()
    raw = await dial(bridge, receive_buffer_bytes=4096)
    raw.send(f"POST / HTTP/1.0\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    received = b""
    while piece := await raw.reader.read(4096):
        received += piece
        await asyncio.sleep(0)
    ids = [int(line.removeprefix(b"id: ")) for line in received.splitlines() if line.startswith(b"id: ")]
    assert ids == list(range(1, 302))


async def test_a_client_may_take_longer_for_a_large_event_than_for_a_piece_of_it(start_bridge, server, dial, speak):
    async def told(request, context):
        await speak.accept(context)
        yield speak.batch(speak.delta(1, answer="x" * 3_000_000))
        yield speak.batch(speak.finished(2))

    server.stream = told
    bridge = await start_bridge(write_timeout_s=1)
    raw = await dial(bridge, receive_buffer_bytes=65536)
    raw.send(f"POST / HTTP/1.0\r\nAuthorization: Bearer t\r\nAccept: {SSE}\r\nContent-Length: 0\r\n\r\n")
    received = b""
    while piece := await raw.reader.read(65536):
        received += piece
        await asyncio.sleep(0.05)
    assert received.count(b"x") >= 3_000_000
    assert b"event: done" in received
