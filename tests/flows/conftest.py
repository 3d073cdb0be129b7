import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from penstock_server.flows import callable as callables
from penstock_server.flows.flow import Flow, NodeRecord
from penstock_server.flows.loader import load
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads


class ListRecorder:
    """A recorder that keeps what it is told; `capacity` deltas fit before a reader makes room."""

    def __init__(self, capacity: int = sys.maxsize) -> None:
        self.deltas: list[dict[str, object]] = []
        self.events: list[str] = []
        self.records: dict[str, NodeRecord] = {}
        self.waits = 0
        self._capacity = capacity
        self._room = asyncio.Event()

    def node_started(self, record: NodeRecord) -> None:
        self.events.append(f"{record.node} started")

    def node_finished(self, record: NodeRecord) -> None:
        self.events.append(f"{record.node} {record.status}")
        assert record.node not in self.records
        self.records[record.node] = record

    def delta(self, outputs: Mapping[str, object]) -> bool:
        self.deltas.append(dict(outputs))
        return len(self.deltas) < self._capacity

    async def room(self) -> None:
        self.waits += 1
        await self._room.wait()

    def make_room(self) -> None:
        self._capacity = sys.maxsize
        self._room.set()


@pytest.fixture
def make_recorder() -> type[ListRecorder]:
    return ListRecorder


@pytest.fixture
async def recorder() -> ListRecorder:
    return ListRecorder()


@pytest.fixture
async def flow_of() -> AsyncIterator[Callable[..., Flow]]:
    """Makes flows of callables."""
    flows: list[Flow] = []

    def make(target: Callable[..., Any], **settings: Any) -> Flow:
        limits = FlowSettings(**settings)
        threads = Threads(limits.sync_threads_max)
        name = getattr(target, "__name__", "flow")
        flows.append(callables.make(name, target, snapshot="1", threads=threads, settings=limits))
        return flows[-1]

    yield make
    for flow in flows:
        await flow.close()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes files, by relative path, into a folder of the temporary folder, which becomes the current one."""
    monkeypatch.chdir(tmp_path)

    def write_files(files: Mapping[str, str], name: str = "shop") -> Path:
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text).lstrip("\n"), "utf-8")
        return tmp_path / name

    return write_files


@pytest.fixture
async def load_folder(write: Callable[..., Path]) -> AsyncIterator[Callable[..., Flow]]:
    """Writes a folder and loads it."""
    flows: list[Flow] = []

    def make(files: Mapping[str, str], name: str = "shop", **settings: Any) -> Flow:
        write(files, name)
        flows.append(load(name, settings=FlowSettings(**settings)))
        return flows[-1]

    yield make
    for flow in flows:
        await flow.close()


@pytest.fixture
def run() -> Callable[..., Awaitable[dict[str, object]]]:
    """Binds and executes."""

    async def execute(flow: Flow, recorder: ListRecorder | None = None, /, **inputs: object) -> dict[str, object]:
        return await flow.execute(await flow.arguments(inputs), recorder or ListRecorder())

    return execute


async def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    """Waits for something that another thread or task does."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Awaitable[None]]:
    return until


HEAD = "import asyncio, threading, time\nfrom penstock.flow import tool, InvalidInput\n@tool\n"


def python(name: str, inputs: str = "{}") -> str:
    return f"- {{name: {name}, type: python, source: {{type: code, path: {name}.py}}, inputs: {inputs}}}\n"


@pytest.fixture
def graph(load_folder: Callable[..., Flow]) -> Callable[..., Flow]:
    """Loads a graph: `inputs` and `outputs` as YAML in one line, nodes as `name(inputs)`: source."""

    def make(nodes: Mapping[str, str], outputs: str = "{}", inputs: str = "{}", **settings: Any) -> Flow:
        files = {}
        listed = ""
        for key, source in nodes.items():
            name, _, given = key.partition(" ")
            listed += python(name, given or "{}")
            files[f"{name}.py"] = HEAD + dedent(source)
        files["flow.dag.yaml"] = f"inputs: {inputs}\noutputs: {outputs}\nnodes:{chr(10) + listed if listed else ' []'}"
        return load_folder(files, **settings)

    return make
