"""The processes of a service, each on a port of its own that it keeps over all its lives."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import grpc
from tests.databases import free_port
from tests.robustness.campaign import HERE, REPOSITORY
from tests.robustness.runs.history import FROZEN, KILLED, Fault, History
from tests.robustness.stores import SERVICE
from tests.robustness.traffic import OPTIONS
from tests.service import PENSTOCK, TOKEN, NotReady, Service, penstock

LEASE_S = 3.0
"""On a busy machine, one that is much shorter makes nobody dead: who looks at the others too rarely begins anew."""
GRACE_S = 1.5
"""`disconnect_grace_s`."""


class Instance:
    """One process of the service after the other.

    Args:
        folder: for its files.
        store: the address of the store.
        lease_s: its lease.
        program: what starts it, instead of `python -m penstock`.
        env: what its environment has besides.
    """

    def __init__(
        self,
        folder: Path,
        store: str,
        history: History,
        *,
        lease_s: float,
        env: Mapping[str, str],
        program: Sequence[str] = PENSTOCK,
    ) -> None:
        self.port = free_port()
        self.service: Service | None = None
        self._folder = folder
        self._store = store
        self._history = history
        self._lease_s = lease_s
        self._env = env
        self._program = program
        self._channel: grpc.aio.Channel | None = None
        self._lives = ExitStack()

    @property
    def process(self) -> int:
        """The process's id."""
        assert self.service is not None, "the instance does not live"
        return self.service.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether its process has not ended."""
        return self.service is not None and self.service.process.poll() is None

    def channel(self, port: int = 0) -> grpc.aio.Channel:
        """How it is called, now and in its next lives.

        Args:
            port: of a network that leads to it.
        """
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port or self.port}", options=OPTIONS)
        return self._channel

    async def start(self, env: Mapping[str, str] | None = None, *, may_die: bool = False) -> None:
        """Begins a life.

        Args:
            env: what the environment of this life has besides.
            may_die: whether it may die before it is ready.
        """
        command = [
            "server", "tests.robustness.runs.flows:chat", "tests.robustness.runs.flows:tell",
            "--grpc", f"127.0.0.1:{self.port}", "--service", SERVICE, "--store", self._store,
            "--lease-s", str(self._lease_s), "--disconnect-grace-s", str(GRACE_S), "--drain-s", "1",
        ]  # fmt: skip
        env = {"PENSTOCK_TOKENS": TOKEN, "PYTHONPATH": str(REPOSITORY), **self._env, **(env or {})}
        life = penstock(*command, folder=self._folder, cwd=HERE, env=env, program=self._program)
        try:
            self.service = await asyncio.to_thread(self._lives.enter_context, life)
        except NotReady as death:
            if not may_die:
                raise
            self.service = None
            self._history.faults.append(Fault(kind=KILLED, process=death.process, began_s=time.monotonic()))

    async def kill(self) -> float:
        """Ends it as a crash would; returns when."""
        now = time.monotonic()
        self.died(now)
        assert self.service is not None
        self.service.process.kill()
        await asyncio.to_thread(self.service.process.wait)
        return now

    def died(self, at_s: float) -> None:
        """Writes down that the process is dead."""
        self._history.faults.append(Fault(kind=KILLED, process=self.process, began_s=at_s))

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Within the block, the process stands still, and the others are not told."""
        assert self.service is not None
        fault = Fault(kind=FROZEN, process=self.process, began_s=time.monotonic())
        self._history.faults.append(fault)
        self.service.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.service.signal(signal.SIGCONT)
            at = self._history.faults.index(fault)
            self._history.faults[at] = replace(fault, ended_s=time.monotonic())

    async def close(self) -> None:
        """Ends it for good. What was found already does not wait for it to drain."""
        if self._channel is not None:
            await self._channel.close()
        if self.service is not None and self.is_alive:
            with suppress(ProcessLookupError):
                self.service.process.kill()
            await asyncio.to_thread(self.service.process.wait)
        await asyncio.to_thread(self._lives.close)
