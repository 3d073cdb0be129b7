"""What is compared: each subject is one or two processes that answer the same calls."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks import envoy, promptflow, stores
from benchmarks.history_fill import Sessions, fill
from benchmarks.process import Process, free_port, start, wait_for_file, wait_for_port

TOKEN = "benchmark-token"
"""The bearer token of every call: Penstock checks it, the baselines do not look at it."""

FLOWS = tuple(
    f"benchmarks.flows:{name}" for name in ("echo", "tokens", "paced", "stamped", "endless", "running", "idle")
)
"""What Penstock serves; the first is the default flow."""

CHAT = "benchmarks.flows:chat"
"""What those serve that store something."""

BARE_GRPC = "bare grpc.aio"
BARE_ENVOY = "bare grpc.aio + Envoy"
BARE_AIOHTTP = "bare aiohttp"
ENVOY = "server + Envoy"
SPLIT = "server + bridge"
ONE = "one process"
STORING = "one process, SQLite"
PENSTOCK = "Penstock"
PROMPT_FLOW = ("prompt flow with flask", "prompt flow with fastapi")
"""prompt flow's server, with each of its engines."""
SDK = "openai SDK"
LLM = "one process, an LLM node"
RETRIEVAL = "a retrieval node"


GRAPHS = ("chain", "fan", "single", "block")
"""The flow folders of `graphs/`; each has a server of its own, for prompt flow's serves one flow."""


def graph_subject(system: str, flow: str) -> str:
    """The name of a subject: a system that serves a flow of `graphs/`."""
    return f"{system}, {flow}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something that answers calls."""

    name: str
    processes: tuple[Process, ...]
    http: str = ""
    """The base URL over HTTP/1.1; empty where it speaks gRPC only."""
    grpc: str = ""
    """The gRPC address; empty where it speaks HTTP only."""

    def pin(self, cores: Sequence[int]) -> dict[str, int]:
        """Puts each process on its core and returns which is where; the last core takes those that remain."""
        placement = {}
        for index, process in enumerate(self.processes):
            placement[process.role] = cores[min(index, len(cores) - 1)]
            process.pin(placement[process.role])
        return placement

    def cpu_s(self) -> dict[str, float]:
        """The CPU time of each process so far."""
        return {process.role: process.cpu_s() for process in self.processes}

    def rss_bytes(self) -> int:
        """The resident memory of all its processes together."""
        return sum(process.rss_bytes() for process in self.processes)


class Fleet:
    """Starts subjects when they are first asked for, and keeps them until it is closed.

    Envoy and the bridge stand before one and the same server.

    Attributes:
        folder: where temporary files go.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._environment = {"PENSTOCK_STORE": "none", **(environment or {})}
        self._subjects: dict[str, Subject] = {}
        self._filled: dict[tuple[object, ...], Subject] = {}
        self._started = 0
        self._model: Process | None = None
        self._model_port = 0
        self._stack = ExitStack()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Subject:
        if name not in self._subjects:
            self._subjects[name] = getattr(self, _BUILDERS[name])(name)
        return self._subjects[name]

    def filled(self, store: str, *sessions: Sessions) -> Subject:
        """A subject whose store holds sessions from the beginning; the same one for the same store and sessions."""
        key = (store, *sessions)
        if key not in self._filled:
            self._filled[key] = self._storing(store, *sessions)
        return self._filled[key]

    def pair(self, store: str) -> tuple[Subject, Subject, Subject]:
        """Two instances of `penstock serve` on one new database, and the database."""
        address, databases = self._store(store)
        first, second = (self._served(f"{store}, {number}", "--store", address) for number in ("first", "second"))
        return first, second, Subject(name=store, processes=databases)

    def penstock(self, role: str, *arguments: str) -> tuple[Process, dict[str, str]]:
        """Starts a `penstock` command; returns it with the addresses from its ready-file."""
        command = Path(sys.executable).with_name("penstock")
        ready_file = self._path("ready")
        process = self._start(role, [str(command), *arguments, "--ready-file", str(ready_file)])
        return process, json.loads(wait_for_file(process, ready_file))

    def model_server(self) -> Process:
        """The tests' model server."""
        if self._model is None:
            self._model_port = free_port()
            command = [sys.executable, "-m", "tests.modelserver", "--port", str(self._model_port)]
            self._model = self._start("model", command)
            wait_for_port(self._model, self._model_port)
        return self._model

    def model_url(self) -> str:
        """The base address of the model server."""
        self.model_server()
        return f"http://127.0.0.1:{self._model_port}/v1"

    def _bare_grpc(self, name: str) -> Subject:
        process, addresses = self._baseline("grpc_echo")
        return Subject(name=name, processes=(process,), grpc=addresses["grpc"])

    def _bare_aiohttp(self, name: str) -> Subject:
        process, addresses = self._baseline("aiohttp_echo")
        return Subject(name=name, processes=(process,), http=addresses["http"])

    def _bare_envoy(self, name: str) -> Subject:
        return self._behind_envoy(name, self[BARE_GRPC])

    def _envoy(self, name: str) -> Subject:
        return self._behind_envoy(name, self[SPLIT])

    def _split(self, name: str) -> Subject:
        server, at = self.penstock("server", "server", *FLOWS, "--grpc", "127.0.0.1:0", "--token", TOKEN)
        bridge, over = self.penstock("bridge", "bridge", "--upstream", at["grpc"], "--http", "127.0.0.1:0")
        return Subject(name=name, processes=(server, bridge), grpc=at["grpc"], http=over["http"])

    def _one(self, name: str) -> Subject:
        return self._served(name)

    def _one_storing(self, name: str) -> Subject:
        return self._served(name, "--store", self._store(stores.SQLITE)[0])

    def _served(self, name: str, *arguments: str) -> Subject:
        process, at = self.penstock(
            "serve", "serve", *FLOWS, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--token", TOKEN, *arguments
        )
        return Subject(name=name, processes=(process,), grpc=at["grpc"], http=at["http"])

    def _storing(self, name: str, *sessions: Sessions) -> Subject:
        store, databases = self._store(name)
        if sessions:
            fill(store, *sessions)
        process, at = self.penstock(
            "server", "server", CHAT, "--grpc", "127.0.0.1:0", "--token", TOKEN, "--store", store
        )
        return Subject(name=name, processes=(process, *databases), grpc=at["grpc"])

    def _store(self, name: str) -> tuple[str, tuple[Process, ...]]:
        folder = self._path("store")
        folder.mkdir()
        return stores.empty(name, folder, self._stack)

    def _penstock_graph(self, name: str) -> Subject:
        flow = f"benchmarks/graphs/{name.rpartition(', ')[2]}"
        process, at = self.penstock(
            "serve", "serve", flow, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--token", TOKEN
        )
        return Subject(name=name, processes=(process,), grpc=at["grpc"], http=at["http"])

    def _prompt_flow_graph(self, name: str) -> Subject:
        system, _, flow = name.rpartition(", ")
        port = free_port()
        home = self._path("promptflow")
        command = promptflow.command(flow, home, engine=system.rpartition(" ")[2], port=port)
        process = self._start("promptflow", command, promptflow.environment(home))
        wait_for_port(process, port)
        return Subject(name=name, processes=(process,), http=f"http://127.0.0.1:{port}")

    def _llm(self, name: str) -> Subject:
        connections = self._path("yaml")
        connections.write_text(f"model: {{type: open_ai, base_url: '{self.model_url()}'}}\n")
        process, at = self.penstock(
            "serve",
            "serve",
            "benchmarks/ask",
            *("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--token", TOKEN, "--connections", str(connections)),
        )
        return Subject(name=name, processes=(process,), grpc=at["grpc"], http=at["http"])

    def _baseline(self, module: str) -> tuple[Process, dict[str, str]]:
        ready_file = self._path("ready")
        process = self._start("server", [sys.executable, "-m", f"benchmarks.baselines.{module}", str(ready_file)])
        return process, json.loads(wait_for_file(process, ready_file))

    def _behind_envoy(self, name: str, server: Subject) -> Subject:
        port = free_port()
        process = self._start("envoy", envoy.command(self._path("json"), upstream=server.grpc, port=port))
        wait_for_port(process, port)
        return Subject(name=name, processes=(server.processes[0], process), http=f"http://127.0.0.1:{port}")

    def _start(
        self, role: str, command: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})
    ) -> Process:
        process = start(role, command, log=self._path("log"), environment={**self._environment, **environment})
        self._stack.callback(process.stop)
        return process

    def _path(self, suffix: str) -> Path:
        self._started += 1
        return self.folder / f"{self._started}.{suffix}"


_BUILDERS = {
    BARE_GRPC: "_bare_grpc",
    BARE_ENVOY: "_bare_envoy",
    BARE_AIOHTTP: "_bare_aiohttp",
    ENVOY: "_envoy",
    SPLIT: "_split",
    ONE: "_one",
    STORING: "_one_storing",
    **dict.fromkeys((stores.NO_STORE, stores.SQLITE, stores.MARIADB, stores.POSTGRESQL), "_storing"),
    LLM: "_llm",
    **{graph_subject(PENSTOCK, flow): "_penstock_graph" for flow in GRAPHS},
    **{graph_subject(system, flow): "_prompt_flow_graph" for system in PROMPT_FLOW for flow in GRAPHS},
}
