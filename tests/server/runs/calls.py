"""Calls of runs, as the tests make them."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import pytest
from tests.server.conftest import METADATA, request

from penstock.errors import PenstockError
from penstock.v1 import run_pb2
from penstock.v1.flow_pb2 import InvokeOptions
from penstock_server.app import Server

SESSION = "s" * 32
PATIENCE_S = 10.0
GRACE_S = 0.4
LEASE_S = 0.6
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED, INTERRUPTED = range(1, 7)


class Instance(NamedTuple):
    """A server, and the stubs that call it in process."""

    server: Server
    flows: Any
    runs: Any


def gate(question: str) -> asyncio.Event:
    import chat_flows

    opened: asyncio.Event = chat_flows.gates.setdefault(question, asyncio.Event())
    return opened


def executed() -> list[str]:
    import chat_flows

    return list(chat_flows.executed)


def ended() -> list[str]:
    import server_flows

    return list(server_flows.ended)


def sent(*, session: str = "", user: str = "", key: str = "") -> Any:
    named = (("chat-session-id", session), ("chat-user-id", user), ("idempotency-key", key))
    return (*METADATA, *((name, value) for name, value in named if value))


def asked(flow: str, options: InvokeOptions | None = None, **inputs: object) -> Any:
    message = request(flow, **inputs)
    message.options.CopyFrom(options or InvokeOptions())
    return message


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def run_of(call: Any) -> str:
    """The run of a call that was accepted; raises why it was not."""
    sent = dict(await call.initial_metadata())
    if "penstock-run-id" not in sent:
        await call.read()
    return str(sent["penstock-run-id"])


async def answer(call: Any) -> run_pb2.Run:
    """What a unary call comes to; for a task."""
    run: run_pb2.Run = await call
    return run


async def events_of(call: Any, until: str = "run_finished") -> list[Any]:
    """The events of a stream up to the first of this kind."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while (response := await call.read()) is not grpc.aio.EOF:
            found += response.events
            if found[-1].WhichOneof("event") == until:
                break
    return found


async def refused(call: Any) -> PenstockError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return PenstockError.of_rpc(caught.value)


async def status_of(instance: Instance, run: str) -> int:
    return int((await instance.runs.GetRun(run_pb2.GetRunRequest(run=run), metadata=METADATA)).status)


async def until_status(instance: Instance, run: str, status: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await status_of(instance, run) != status:
            await asyncio.sleep(0.02)


def watch(instance: Instance, run: str, after: int = 0, **more: Any) -> Any:
    return instance.runs.WatchRun(run_pb2.WatchRunRequest(run=run, after_sequence=after, **more), metadata=METADATA)
