"""A caller without a token can neither make the server work nor hold its calls."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from penstock.errors import PenstockError
from penstock_server.app import Server

WAIT_S = 5.0
INVOKE = "/penstock.v1.FlowService/Invoke"


async def test_a_call_is_refused_before_its_request_arrives(server: Server) -> None:
    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with grpc.aio.insecure_channel(server.address) as channel:
        call = channel.stream_unary(INVOKE)(never())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(call, WAIT_S)
    assert PenstockError.of_rpc(caught.value).reason == "TOKEN_INVALID"


async def test_a_request_is_not_parsed(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(INVOKE)(b"\xff\xff\xff")
    assert PenstockError.of_rpc(caught.value).reason == "TOKEN_INVALID"


async def test_reflection_takes_no_request_over_the_limit(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        call = channel.stream_stream(method)(iter([b"\xff" * 70_000]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert PenstockError.of_rpc(caught.value).reason == "MESSAGE_TOO_LARGE"
