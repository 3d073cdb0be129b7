"""A service of runs that is called, hurt and checked."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from tests.robustness.campaign import EXPORT_TIMEOUT_S, seed
from tests.robustness.runs import checker
from tests.robustness.runs.effects import EFFECTS_FILE, UPSTREAM_PORT, Effect, read
from tests.robustness.runs.events import said, seen
from tests.robustness.runs.found import Found, Kept
from tests.robustness.runs.history import STORE, TERMINAL, Event, Fault, History
from tests.robustness.runs.instances import LEASE_S, Instance
from tests.robustness.runs.network import Network
from tests.robustness.runs.plan import Plan
from tests.robustness.runs.traffic import Traffic
from tests.robustness.runs.upstream import Upstream
from tests.service import PENSTOCK, TOKEN

from penstock.v1.history_pb2 import ExportMessagesRequest
from penstock.v1.history_pb2_grpc import HistoryServiceStub
from penstock.v1.run_pb2 import GetRunRequest, ListRunsRequest, Run, WatchRunRequest
from penstock.v1.run_pb2_grpc import RunServiceStub

SETTLE_TIMEOUT_S = LEASE_S + 30.0
"""Until then, nothing may be live any more: a lease, and a margin for a busy machine."""
CALLS_AT_ONCE = 16
METADATA = (("authorization", f"Bearer {TOKEN}"),)
ASSISTANT = 2


class Campaign:
    """The instances of a service on one store, and all that their callers see.

    Args:
        folder: for the instances' files.
        store: the address of the store.
        instances: how many.
        lease_s: their leases.
        given: fixed fields of every planned call.
        program: what starts an instance, instead of `python -m penstock`.
        env: what the instances' environment has besides.
        env_of_last: what that of the last one has besides.
        fronted: whether a network that can be cut leads to each instance.
    """

    def __init__(
        self,
        folder: Path,
        store: str,
        *,
        instances: int = 1,
        lease_s: float = LEASE_S,
        given: dict[str, Any] | None = None,
        program: Sequence[str] = PENSTOCK,
        env: Mapping[str, str] | None = None,
        env_of_last: Mapping[str, str] | None = None,
        fronted: bool = False,
    ) -> None:
        begin = seed()
        print(f"ROBUSTNESS_SEED={begin}")
        self.history = History()
        self.plan = Plan(seed=begin, given=given or {})
        self.random = self.plan.faults()
        self.stores = [store] * instances
        """The address of the store, for each instance."""
        self.fronts: list[Network] = []
        """The networks that lead to the instances."""
        self._fronted = fronted
        self._folder = folder
        self._env = {EFFECTS_FILE: str(folder / "effects"), **(env or {})}
        self._lease_s = lease_s
        self._env_of_last = env_of_last or {}
        self._program = program
        self._next_call = 1
        self.upstream = Upstream()
        self.instances: list[Instance] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The instances live within the block."""
        async with self.upstream, AsyncExitStack() as stack:
            for number in range(len(self.stores)):
                instance = self._instance(number)
                stack.push_async_callback(instance.close)
                self.instances.append(instance)
                if self._fronted:
                    self.fronts.append(await stack.enter_async_context(Network(instance.port)))
            await self.instances[0].start()  # one alone makes the tables
            await asyncio.gather(*(each.start() for each in self.instances[1:]))
            yield

    def _instance(self, number: int) -> Instance:
        env = {**self._env, UPSTREAM_PORT: str(self.upstream.port)}
        if number == len(self.stores) - 1:
            env |= self._env_of_last
        folder = self._folder / f"instance-{number}"
        return Instance(
            folder, self.stores[number], self.history, lease_s=self._lease_s, env=env, program=self._program
        )

    def channel(self, at: int) -> grpc.aio.Channel:
        """See `callers.Doors`."""
        number = at % len(self.instances)
        return self.instances[number].channel(self.fronts[number].port if self.fronts else 0)

    @asynccontextmanager
    async def traffic(self) -> AsyncIterator[Traffic]:
        """Calls of the plan, within the block."""
        async with Traffic(self, self.history, self.plan, first=self._next_call) as traffic:
            yield traffic
        self._next_call = traffic.next

    @asynccontextmanager
    async def store_out(self) -> AsyncIterator[None]:
        """Within the block, the store does not answer as it should."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.history.faults.append(Fault(kind=STORE, began_s=began_s, ended_s=time.monotonic()))

    async def check(self) -> Found:
        """Fails unless every promise was kept; returns what there is. No call may be under way."""
        found = await self.found()
        statuses = Counter(kept.status for kept in found.runs.values())
        events = sum(len(reader.events) for reader in self.history.readers)
        print(f"{len(found.runs)} runs {dict(statuses)}, {len(self.history.readers)} readers of {events} events")
        checker.check(self.history, found)
        return found

    async def found(self) -> Found:
        """What there is, once nothing is live any more, or ought to be."""
        await self._settled()
        runs = await self._all_runs()
        gate = asyncio.Semaphore(CALLS_AT_ONCE)
        messages = await self._messages()

        async def kept(run: Run) -> Kept:
            async with gate:
                return await self._kept(run.run, messages.get(run.run))

        return Found(
            runs={each.run: each for each in await asyncio.gather(*map(kept, runs))},
            effects=self.effects(),
            closed_s=dict(self.upstream.closed_s),
        )

    def effects(self) -> list[Effect]:
        """What the flows did."""
        return list(read(self._folder / "effects"))

    async def live(self) -> list[str]:
        """The runs that have not ended."""
        found = [run for status in (Run.QUEUED, Run.RUNNING) for run in await self._all_runs(status)]
        return [run.run for run in found]

    async def _settled(self) -> None:
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while await self.live() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    async def _all_runs(self, status: "Run.Status.ValueType" = Run.STATUS_UNSPECIFIED) -> list[Run]:
        runs: list[Run] = []
        asked = ListRunsRequest(page_size=500, status=status)
        while True:
            page = await RunServiceStub(self.channel(0)).ListRuns(asked, metadata=METADATA)
            runs += page.runs
            if not page.next_page_token:
                return runs
            asked.page_token = page.next_page_token

    async def _kept(self, name: str, message: Any) -> Kept:
        """The record as one instance has it, and the log as another does."""
        run = await RunServiceStub(self.channel(0)).GetRun(GetRunRequest(run=name), metadata=METADATA)
        status = Run.Status.Name(run.status)
        log: list[Event] = []
        if status in TERMINAL:
            async for response in RunServiceStub(self.channel(1)).WatchRun(
                WatchRunRequest(run=name), metadata=METADATA
            ):
                log += seen(response.events)
        return Kept(
            run=name,
            status=status,
            question=str(run.inputs["question"]),
            answer=said(run),
            log=log,
            message=message.text if message is not None else None,
            turn=message.turn if message is not None else 0,
            session=run.session,
        )

    async def _messages(self) -> Mapping[str, Any]:
        """The answers, by run."""
        export = HistoryServiceStub(self.channel(0)).ExportMessages(
            ExportMessagesRequest(), metadata=METADATA, timeout=EXPORT_TIMEOUT_S
        )
        messages = [record.message async for response in export for record in response.records]
        return {message.run: message for message in messages if message.role == ASSISTANT}
