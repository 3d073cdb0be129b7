"""Starting and stopping."""

import asyncio

import pytest

from penstock.v1 import run_pb2

CALL = "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Length: 0\r\n\r\n"


async def test_a_port_that_is_taken_is_an_error(bridge, start_bridge):
    with pytest.raises(OSError, match="in use"):
        await start_bridge(http="{}:{}".format(*bridge.address))


async def test_draining_finishes_what_is_under_way_and_takes_nothing_more(bridge, server, dial, web):
    go_on = asyncio.Event()

    async def slowly(request, context):
        await go_on.wait()
        return run_pb2.Run()

    server.invoke = slowly
    busy, idle = await dial(bridge), await dial(bridge)
    busy.send(CALL)
    await server.called.wait()
    draining = asyncio.create_task(bridge.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()

    idle.send(CALL)
    head = await idle.head()
    assert head.startswith("HTTP/1.1 503 ")
    assert "Retry-After: 1\r\n" in head
    assert "Connection: close\r\n" in head
    with pytest.raises(ConnectionRefusedError):
        await dial(bridge)

    go_on.set()
    assert (await busy.head()).startswith("HTTP/1.1 200 OK\r\n")
    async with asyncio.timeout(5):
        await draining


async def test_a_draining_bridge_is_alive_and_not_ready(bridge, server, dial):
    never = asyncio.Event()

    async def slowly(request, context):
        await never.wait()
        return run_pb2.Run()

    server.invoke = slowly
    busy, first, second = await dial(bridge), await dial(bridge), await dial(bridge)
    busy.send(CALL)
    await server.called.wait()
    draining = asyncio.create_task(bridge.drain())
    await asyncio.sleep(0.05)
    for raw, path, status in ((first, "/healthz", 200), (second, "/readyz", 503)):
        raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.head()).startswith(f"HTTP/1.1 {status} ")
    draining.cancel()


async def test_stopping_ends_calls_and_connections(bridge, server, dial, speak):
    async def endless(request, context):
        await speak.accept(context)
        await asyncio.sleep(3600)
        yield None

    server.stream = endless
    raw = await dial(bridge)
    raw.send(CALL.replace("Host: x", "Host: x\r\nAccept: text/event-stream"))
    await raw.head()
    async with asyncio.timeout(5):
        await bridge.stop()
        assert b"0\r\n\r\n" not in await raw.rest()
        await server.cancelled.wait()


async def test_it_listens_on_ipv6_too(start_bridge, web):
    bridge = await start_bridge(http="[::1]:0")
    assert bridge.address[0] == "::1"
