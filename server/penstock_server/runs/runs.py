"""The runs of a service: accept one, follow it to its end wherever it executes, find it, cancel it."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from penstock_server.errors import (
    RETRY_AFTER_S,
    Draining,
    Failure,
    FlowFailed,
    FlowNotFound,
    InvalidRequest,
    RunCanceled,
    RunInterrupted,
    RunNotFound,
    StoreDisabled,
    StoreUnavailable,
)
from penstock_server.flows.flow import Flow
from penstock_server.ids import new_id
from penstock_server.runs import keeping
from penstock_server.runs.elsewhere import Elsewhere, StoredReader, ending
from penstock_server.runs.events import OnDisconnect, RunStatus
from penstock_server.runs.executor import CLEANUP_S, Executor, log_failure
from penstock_server.runs.followers import Followers
from penstock_server.runs.following import Following, FollowingElsewhere, FollowingHere, Watch, needs_a_new_key
from penstock_server.runs.journal import RESERVED_FIRST, Journal
from penstock_server.runs.lease import Lease
from penstock_server.runs.log import EventLog
from penstock_server.runs.queue import Queue, QueueSettings
from penstock_server.runs.recovery import Recovery
from penstock_server.runs.run import InvokeCommand, Run
from penstock_server.store.records import Cursor, Errands, Orphan, Page, RunFilter, RunRecord, Scope
from penstock_server.store.store import Store

logger = logging.getLogger("penstock.runs")

CANCEL_WAIT_S = 30.0
"""How long a caller waits for another instance to cancel a run: for longer than a lease."""
UNDECIDED_S = 0.2
"""How long a repeated call waits for the first to be told that it was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The limits of runs; `ServerConfig` explains each."""

    run_window_bytes: int
    run_log_bytes_max: int
    history: bool
    history_rounds_max: int
    session_queue_max: int
    disconnect_grace_s: float
    lease_s: float
    queue: QueueSettings


class Runs:
    """Accepts runs, and finds, follows and cancels them.

    Args:
        flows: the served flows by id; the first is the default flow.
        store: where runs are kept; None keeps nothing.
    """

    def __init__(self, flows: Mapping[str, Flow], settings: RunSettings, store: Store | None) -> None:
        self._flows = flows
        self._default = next(iter(flows))
        self._settings = settings
        self._store = store
        self._live: dict[str, Run] = {}
        self._draining = self._interrupting = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._executor = Executor(store, self._rested)
        self._followers = Followers(store, settings.disconnect_grace_s, self._left)
        self._queue = Queue(
            settings.queue,
            None if store is None else store.turns,
            start=self._executor.start,
            end=self._executor.fail,
            lost=self._executor.lost,
        )
        if store is not None:
            self._journal = Journal(store.turns, lost=self._executor.lost, refused=self._executor.fail)
            self._elsewhere = Elsewhere(store.runs)
            self._recovery = Recovery(store, flows)
            self._lease = Lease(store.leases, settings.lease_s, self)

    @property
    def live(self) -> int:
        """How many runs have been accepted here and have not ended."""
        return len(self._live)

    async def begin(self) -> None:
        """Joins the other instances, or takes over what the one before has left. Raises StoreUnavailable."""
        if self._store is not None:
            await (self._lease.begin() if self._store.shared else self._lease.take_all())

    async def invoke(self, command: InvokeCommand) -> Following:
        """Accepts a run, stores it, and lets it execute or wait, beginning with the next pass of the event loop.

        A repeated command gets the run of the first, and executes nothing.

        Raises:
            FlowNotFound: no such flow is served.
            InvalidRequest: the inputs are not what the flow takes, or the options contradict each other.
            FlowFailed: the flow's own checks of its inputs raised.
            TooManyRuns: as many runs execute and wait as may.
            SessionBusy: another run of the session is live, and this one is not to wait.
            Draining: the server was asked to stop.
            SessionNotFound: the session is another user's.
            IdempotencyKeyReused: the key was used for another request.
            StoreUnavailable: the run could not be stored.
        """
        flow = self.flow(command.flow)
        self._check(command)
        arguments = await self._arguments(flow, command)
        while True:
            run = self._new(new_id(), flow, command)
            has_place = self._admit(run)
            try:
                earlier = await self._accept(run, queued=not has_place)
            except BaseException:
                self._forget(run)
                raise
            if earlier is None:
                self._begin(run, flow, arguments, queued=not has_place)
                return self._follow_here(run, caller=True)
            self._forget(run)
            if (following := await self._repeated(earlier)) is not None:
                return following
            await asyncio.sleep(UNDECIDED_S)

    def flow(self, name: str) -> Flow:
        """The flow of this id; the default flow for the empty id. Raises FlowNotFound."""
        flow = self._flows.get(name or self._default)
        if flow is None:
            raise FlowNotFound(f"there is no flow {name!r}; GET /v1/flows lists them", metadata={"flow": name})
        return flow

    async def get(self, run: str, scope: Scope) -> Run | RunRecord:
        """A run. Raises RunNotFound."""
        return self._here(run, scope) or await self._record(run, scope)

    async def page(self, filter: RunFilter, after: Cursor | None, size: int) -> Page[RunRecord]:
        """A page of the stored runs. Raises StoreDisabled."""
        return await self._kept.runs.page(filter, after, size)

    async def cancel(self, name: str, scope: Scope) -> Run | RunRecord:
        """Cancels a run, wherever it is, and waits until its work has stopped; one that has ended stays as it is.

        Raises:
            RunNotFound: there is no such run.
            StoreUnavailable: how it ended cannot be stored; or the instance that executes it does not answer.
        """
        run = self._here(name, scope)
        if run is not None:
            self._cancel(run)
            return await run.recorded()
        record = await self._record(name, scope)
        if record.status.terminal:
            return record
        await self._kept.runs.request_cancel(name)
        try:
            async with asyncio.timeout(CANCEL_WAIT_S):
                return await ending(self._elsewhere, self._kept.runs, name)
        except TimeoutError:
            text = "the instance that executes the run does not answer; the run ends when it does, or is given up"
            raise StoreUnavailable(text, metadata={"run": name}, retry_after_s=RETRY_AFTER_S) from None

    async def watch(self, name: str, scope: Scope, *, after: int, simple: bool) -> Watch:
        """Reads a run's log, from behind an event on.

        Raises:
            RunNotFound: there is no such run.
            InvalidRequest: the run is not stored.
            CursorExpired: what follows the event is not kept any more, or there is no such event.
        """
        run = self._here(name, scope)
        if run is None or run.log.ended:
            await self._record(name, scope)
            runs = self._kept.runs
            first = await runs.log(name, after)
            if first is None:
                raise RunNotFound.of(name)
            return Watch(StoredReader(self._elsewhere, runs, name, after=after, simple=simple, first=first))
        if not run.kept:
            raise InvalidRequest.of([("run", "is not stored (options.store is false), so it cannot be watched")])
        reader = run.log.subscribe(after=after, simple=simple)
        return Watch(reader, self._follow_here(run, caller=False))

    def give_up(self, following: Following, failure: Failure) -> None:
        """The reader of this call's stream takes nothing: unless others follow the run, it has no reason to go on."""
        if isinstance(following, FollowingHere):
            run = following.executed
            if run.followers <= 1 and run.command.on_disconnect is not OnDisconnect.CONTINUE:
                self._executor.end(run, RunStatus.CANCELED, failure)

    async def drain(self, drain_s: float) -> None:
        """Lets live runs finish for `drain_s` seconds, and interrupts those that do not."""
        self._draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), drain_s)
        except TimeoutError:
            logger.warning("interrupting %d runs that did not end within %g s", len(self._live), drain_s)
        self._interrupting = True
        for run in list(self._live.values()):
            self._interrupt(run)
        try:
            await asyncio.wait_for(self._idle.wait(), CLEANUP_S)
        except TimeoutError:
            logger.warning("%d runs did not clean up within %g s of their cancellation", len(self._live), CLEANUP_S)

    async def close(self) -> None:
        """Leaves the other instances; drained before."""
        await self._queue.close()
        await self._followers.close()
        if self._store is not None:
            await self._journal.close()
            await self._elsewhere.close()
            await self._lease.end()

    @property
    def _kept(self) -> Store:
        if self._store is None:
            raise StoreDisabled("this service keeps no runs (it was started with --no-store)")
        return self._store

    def _check(self, command: InvokeCommand) -> None:
        asked = [
            (command.idempotency is not None, "idempotency-key"),
            (command.background, "options.background"),
        ]
        fields = [field for given, field in asked if given]
        if not fields or (self._store is not None and command.stored):
            return
        why = "the run is not stored (options.store is false)"
        if self._store is None:
            why = "this service stores nothing (it was started with --no-store)"
        raise InvalidRequest.of([(field, f"needs a stored run, and {why}") for field in fields])

    async def _arguments(self, flow: Flow, command: InvokeCommand) -> Mapping[str, object]:
        try:
            return await flow.arguments(command.inputs)
        except FlowFailed as failure:
            log_failure(f"the inputs of flow {flow.spec.flow}", failure)
            raise

    def _new(self, name: str, flow: Flow, command: InvokeCommand, reserved: int = RESERVED_FIRST) -> Run:
        settings, store = self._settings, self._store
        read_stored = partial(store.runs.log, name) if store is not None and command.stored else None
        log = EventLog(settings.run_window_bytes, read_stored, reserved=reserved)
        return Run(name, flow.spec, command, log=log, log_bytes_max=settings.run_log_bytes_max, loop=self._loop)

    def _admit(self, run: Run) -> bool:
        """Whether the run can execute at once, as far as this instance is concerned."""
        if self._draining:
            raise Draining.now()
        has_place = self._queue.enter(run)
        self._live[run.run] = run
        self._idle.clear()
        return has_place

    async def _accept(self, run: Run, *, queued: bool) -> RunRecord | None:
        """Stores the acceptance; returns the run that has the command's idempotency key already."""
        if self._store is None:
            return None
        outcome = await self._store.turns.accept(keeping.acceptance(run, self._settings, queued=queued))
        if isinstance(outcome, RunRecord):
            return outcome
        run.accepted = outcome
        return None

    def _begin(self, run: Run, flow: Flow, arguments: Mapping[str, object], *, queued: bool) -> None:
        accepted = run.accepted
        if run.kept:
            self._journal.keep(run)
            run.announce()
        if accepted is not None:
            for name in accepted.interrupts:
                if (earlier := self._live.get(name)) is not None:
                    text = "a later run of its session took the run's place (options.on_busy is INTERRUPT)"
                    self._executor.end(earlier, RunStatus.CANCELED, RunCanceled(text, metadata={"run": name}))
            queued = queued or accepted.status is RunStatus.QUEUED
        if self._interrupting:
            self._interrupt(run)
        elif queued:
            self._queue.wait(run, flow, arguments, keeping.history_rounds_max(run, self._settings))
        else:
            self._executor.start(run, flow, arguments)

    def _follow_here(self, run: Run, *, caller: bool) -> FollowingHere:
        self._followers.joined(run)
        return FollowingHere(run, lambda run: self._followers.left(run, caller=caller))

    async def _repeated(self, earlier: RunRecord) -> Following | None:
        """The run of an earlier call; None where it may yet be taken back, because that call was not told of it."""
        run = self._live.get(earlier.run)
        if run is not None:
            return self._follow_here(run, caller=False) if run.kept else None
        if earlier.status is RunStatus.INTERRUPTED:
            earlier = replace(earlier, error=needs_a_new_key(earlier))
        if earlier.status.terminal or await self._announced(earlier.run):
            return FollowingElsewhere(earlier, self._elsewhere, self._kept.runs)
        return None

    async def _announced(self, run: str) -> bool:
        """Whether another instance, whose run it is, has told a caller that it was accepted: then its log has begun."""
        page = await self._kept.runs.log(run, 0) if self._kept.shared else None
        return page is not None and bool(page.events or page.end)

    def _here(self, name: str, scope: Scope) -> Run | None:
        run = self._live.get(name)
        if run is None or (self._store is not None and run.accepted is None):
            return None  # it is nobody's business before it was accepted
        if not scope.reaches(run.user):
            raise RunNotFound.of(name)
        return run

    async def _record(self, name: str, scope: Scope) -> RunRecord:
        record = None if self._store is None else await self._store.runs.get(name)
        if record is None or not scope.reaches(record.user):
            raise RunNotFound.of(name)
        return record

    def _left(self, run: Run) -> None:
        text = "the run was cancelled, because its caller left or its deadline passed (options.on_disconnect)"
        self._executor.end(run, RunStatus.CANCELED, RunCanceled(text, metadata={"run": run.run}))

    def _cancel(self, run: Run) -> None:
        self._executor.end(run, RunStatus.CANCELED, RunCanceled("the run was cancelled", metadata={"run": run.run}))

    def _interrupt(self, run: Run) -> None:
        text = "the server stopped before the run ended; what it had said is kept"
        error = RunInterrupted(text, metadata={"run": run.run}, retry_after_s=RETRY_AFTER_S)
        self._executor.end(run, RunStatus.INTERRUPTED, error)

    async def adopt(self, orphan: Orphan) -> None:
        """See `lease.Owner`."""
        record = orphan.record
        flow = self._flows.get(record.flow)
        waits = record.status is RunStatus.QUEUED and orphan.on_disconnect is not OnDisconnect.CANCEL
        if flow is None or not waits or self._draining:
            await self._recovery.interrupt(orphan)
            return
        command = keeping.command(orphan)
        run = self._new(record.run, flow, command, orphan.sequence_reserved)
        run.accepted, run.create_time = orphan.accepted, record.create_time
        self._live[run.run] = run
        self._idle.clear()
        self._journal.keep(run)
        run.announce()
        try:
            arguments = await self._arguments(flow, command)
        except Failure as failure:
            self._executor.end(run, RunStatus.FAILED, failure)
            return
        self._queue.wait(run, flow, arguments, keeping.history_rounds_max(run, self._settings))
        self._followers.linger(run)

    def was_declared_dead(self) -> None:
        """See `lease.Owner`."""
        for run in self._live.values():
            self._journal.verify(run)

    def knows(self, run: str) -> bool:
        """See `lease.Owner`."""
        return run in self._live

    def run_errands(self, errands: Errands) -> None:
        """See `lease.Owner`."""
        for name in errands.cancel:
            if (run := self._live.get(name)) is not None:
                self._cancel(run)
        self._queue.ready(errands.start)

    def _rested(self, run: Run) -> None:
        self._forget(run)

    def _forget(self, run: Run) -> None:
        self._queue.leave(run)
        if self._live.get(run.run) is run:
            del self._live[run.run]
        if not self._live:
            self._idle.set()
