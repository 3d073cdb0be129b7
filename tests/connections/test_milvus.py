"""Connections to Milvus are tried with its own client."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.knowledge import milvusserver

TOKEN = "root:not-to-be-shown"


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = milvusserver.free_port()
    with milvusserver.serving(tmp_path_factory.mktemp("milvus"), port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def strict_port() -> AsyncIterator[int]:
    """A server that refuses every token as Milvus does, with the status that its interceptor gives."""

    async def refuse(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"auth check failure, please check {TOKEN}")

    class Refusing(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Refusing(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


async def test_a_server_that_lists_its_collections_is_ok_with_its_version(
    milvus: str, try_one: Callable[..., Any]
) -> None:
    finding = await try_one("milvus", uri=milvus, token=TOKEN)
    assert (finding.ok, finding.text.startswith("lists its collections; version milvus")) == (True, True), finding.text


async def test_a_database_that_is_not_there_is_told(milvus: str, try_one: Callable[..., Any]) -> None:
    finding = await try_one("milvus", uri=milvus, db_name="nothing")
    assert (finding.ok, "database 'nothing' does not exist" in finding.text) == (False, True), finding.text


async def test_a_token_that_is_refused_is_told_and_not_shown(strict_port: int, try_one: Callable[..., Any]) -> None:
    finding = await try_one("milvus", uri=f"http://127.0.0.1:{strict_port}", token=TOKEN)
    assert (finding.ok, "the `token` is wrong" in finding.text) == (False, True), finding.text
    assert "not-to-be-shown" not in finding.text


async def test_a_port_where_nothing_listens_is_told(closed_port: int, try_one: Callable[..., Any]) -> None:
    finding = await try_one("milvus", uri=f"http://127.0.0.1:{closed_port}")
    assert (finding.ok, f"127.0.0.1:{closed_port} cannot be reached" in finding.text) == (False, True), finding.text


async def test_a_port_that_accepts_and_hangs_is_given_up(silent_port: int, try_one: Callable[..., Any]) -> None:
    began = time.monotonic()
    finding = await try_one("milvus", timeout_s=1.0, uri=f"http://127.0.0.1:{silent_port}")
    assert (finding.ok, "does not answer as Milvus does" in finding.text) == (False, True), finding.text
    assert time.monotonic() - began < 10


async def test_what_is_no_milvus_is_told(try_one: Callable[..., Any]) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        finding = await try_one("milvus", timeout_s=2.0, uri=f"http://127.0.0.1:{port}")
    assert (finding.ok, "something listens there" in finding.text) == (False, True), finding.text


async def test_the_file_of_an_embedded_one_is_not_made_by_asking(tmp_path: Path, try_one: Callable[..., Any]) -> None:
    file = tmp_path / "docs.db"
    assert (await try_one("milvus", uri=str(file))).ok
    assert not file.exists()
    finding = await try_one("milvus", uri=str(tmp_path / "nothing/docs.db"))
    assert (finding.ok, "which is no folder" in finding.text) == (False, True)


async def test_packages_that_are_not_installed_are_named_with_the_command_that_brings_them(
    try_one: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "penstock_server.flows.knowledge.milvus", raising=False)
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    finding = await try_one("milvus", uri="http://127.0.0.1:1")
    assert (finding.ok, "pip install 'penstock[milvus]'" in finding.text) == (False, True), finding.text
