"""The runs of a server: accept one, execute it under a task of its own, and see every one to its end."""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from penstock.flow import Call, current_call
from penstock_server.errors import (
    DEFECT_MESSAGE,
    Defect,
    Draining,
    Failure,
    FlowFailed,
    FlowNotFound,
    InputRefused,
    InvalidRequest,
    RunCanceled,
    RunInterrupted,
    StoreUnavailable,
    TooManyRuns,
)
from penstock_server.flows.flow import Flow
from penstock_server.ids import new_id
from penstock_server.runs import keeping, repeat
from penstock_server.runs.events import RunStatus
from penstock_server.runs.log import EventLog
from penstock_server.runs.run import InvokeCommand, Run
from penstock_server.store.records import RunRecord, Start
from penstock_server.store.store import Store

logger = logging.getLogger("penstock.runs")

RETRY_AFTER_S = 1.0
"""When a caller that was turned away should come back."""
QUEUE_POLL_S = 0.05
"""How often a run looks whether it is its turn."""
CLEANUP_S = 10.0
"""How long a stopping server waits for cancelled flows to end: for the `finally` of their code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The limits of runs; `ServerConfig` explains each."""

    run_window_bytes: int
    run_log_bytes_max: int
    runs_max: int
    history: bool
    history_rounds_max: int


class Runs:
    """Accepts and executes runs.

    Args:
        flows: the served flows by id; the first is the default flow.
        store: where runs are stored; None stores nothing.
    """

    def __init__(self, flows: Mapping[str, Flow], settings: RunSettings, store: Store | None) -> None:
        self._flows = flows
        self._default = next(iter(flows))
        self._settings = settings
        self._store_of_runs = store
        self._turns = store.turns if store else None
        self._live: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def live(self) -> int:
        """How many runs have been accepted and have not ended."""
        return len(self._live)

    async def accept(self, command: InvokeCommand) -> Run:
        """Accepts a run, stores it, and lets it execute, beginning with the next pass of the event loop.

        A repeated command gets the run of the first: it executes nothing, and ends as that run does.

        Raises:
            FlowNotFound: no such flow is served.
            InvalidRequest: the inputs are not what the flow takes.
            FlowFailed: the flow's own checks of its inputs raised.
            TooManyRuns: `runs_max` runs are live.
            Draining: the server was asked to stop.
            SessionNotFound: the session is another user's.
            IdempotencyKeyReused: the key was used for another request.
            StoreUnavailable: the run could not be stored.
        """
        flow = self.flow(command.flow)
        self._check(command)
        try:
            arguments = await flow.arguments(command.inputs)
        except FlowFailed as failure:
            _log_failure(f"the inputs of flow {flow.spec.flow}", failure)
            raise
        while True:
            run = self._admit(flow, command)
            try:
                earlier = await self._store(run)
            except BaseException:
                self._forget(run)
                raise
            if earlier is None:
                self._start(run, flow, arguments)
                return run
            self._forget(run)
            if earlier.status.terminal or self._executes(earlier.run):
                return self._repeat(flow, command, earlier)
            # It may yet be taken back, for its own caller was not told of it, or another instance executes it.
            await asyncio.sleep(repeat.POLL_S)

    def flow(self, name: str) -> Flow:
        """The flow of this id; the default flow for the empty id. Raises FlowNotFound."""
        flow = self._flows.get(name or self._default)
        if flow is None:
            raise FlowNotFound(f"there is no flow {name!r}; GET /v1/flows lists them", metadata={"flow": name})
        return flow

    def leave(self, run: Run) -> None:
        """The caller of a run has left, or has its answer."""
        if self._follows(run) or not run.command.continue_on_disconnect:
            self.cancel(run)

    def cancel(self, run: Run, error: Failure | None = None, status: RunStatus = RunStatus.CANCELED) -> None:
        """Ends a run before its time. Does nothing to a run whose end is decided.

        The run of an earlier call that this one repeats goes on without it.
        """
        if run.task is None or not run.decide(status, error or _canceled(run)):
            return
        run.task.cancel()
        if self._follows(run):
            run.finished()
        else:
            self._spawn(self._end(run))

    async def drain(self, drain_s: float) -> None:
        """Lets live runs finish for `drain_s` seconds, and interrupts those that do not."""
        self._draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), drain_s)
        except TimeoutError:
            logger.warning("interrupting %d runs that did not end within %g s", len(self._live), drain_s)
        for run in list(self._live.values()):
            error = RunInterrupted(
                "the server stopped before the run ended", metadata={"run": run.run}, retry_after_s=RETRY_AFTER_S
            )
            self.cancel(run, error, RunStatus.INTERRUPTED)
        try:
            await asyncio.wait_for(self._idle.wait(), CLEANUP_S)
        except TimeoutError:
            logger.warning("%d runs did not clean up within %g s of their cancellation", len(self._live), CLEANUP_S)

    def _check(self, command: InvokeCommand) -> None:
        if command.idempotency is None:
            return
        if self._turns is None:
            text = "needs stored runs, and this service stores nothing (it was started with --no-store)"
        elif not command.stored:
            text = "cannot be honoured for a run that is not stored (options.store is false)"
        else:
            return
        raise InvalidRequest.of([("idempotency-key", text)])

    def _admit(self, flow: Flow, command: InvokeCommand) -> Run:
        if self._draining:
            raise Draining.now()
        if len(self._live) >= self._settings.runs_max:
            raise TooManyRuns(
                f"the service executes as many runs as it may ({self._settings.runs_max}); try again shortly",
                retry_after_s=RETRY_AFTER_S,
            )
        run = self._run(new_id(), flow, command)
        self._live[run.run] = run
        self._idle.clear()
        return run

    def _run(self, run: str, flow: Flow, command: InvokeCommand) -> Run:
        log = EventLog(self._settings.run_window_bytes)
        return Run(run, flow.spec, command, log=log, log_bytes_max=self._settings.run_log_bytes_max, loop=self._loop)

    async def _store(self, run: Run) -> RunRecord | None:
        """Stores the acceptance; returns the run that has the command's idempotency key already."""
        if self._turns is None:
            return None
        settings = self._settings
        outcome = await self._turns.accept(
            keeping.acceptance(run, turns=settings.history, history_rounds_max=settings.history_rounds_max)
        )
        if isinstance(outcome, RunRecord):
            return outcome
        run.accepted = outcome
        return None

    def _start(self, run: Run, flow: Flow, arguments: Mapping[str, object]) -> None:
        run.task = self._loop.create_task(self._execute(run, flow, arguments), context=contextvars.Context())
        # A callback of the task, because a task that is cancelled before its first step never enters its body.
        run.task.add_done_callback(lambda _: self._ended(run))

    def _repeat(self, flow: Flow, command: InvokeCommand, record: RunRecord) -> Run:
        run = self._run(record.run, flow, replace(command, session=record.session))
        assert self._store_of_runs is not None  # noqa: S101 - the record comes from there
        run.task = self._loop.create_task(repeat.follow(run, self._store_of_runs.runs.get, self._wait_local))
        return run

    def _executes(self, name: str) -> bool:
        run = self._live.get(name)
        return run is not None and run.task is not None

    async def _wait_local(self, name: str) -> bool:
        run = self._live.get(name)
        if run is None:
            return False
        await run.ended()
        return True

    async def _execute(self, run: Run, flow: Flow, arguments: Mapping[str, object]) -> None:
        current_call.set(Call(run.run, run.spec.flow, run.command.session, run.command.user))
        try:
            await self._wait_turn(run)
            run.started()
            run.outputs = await flow.execute(await self._with_history(run, flow, arguments), run)
            decided = run.decide(RunStatus.SUCCEEDED)
        except asyncio.CancelledError:
            # Where somebody asked for it, `cancel` has said why already. Else the flow's own code cancelled its task.
            name = run.spec.flow
            failure = FlowFailed(f"flow `{name}` cancelled its own run", metadata={"flow": name, "run": run.run})
            decided = run.decide(RunStatus.FAILED, failure)
        except Failure as failure:
            failure.metadata.setdefault("run", run.run)
            _log_failure(f"run {run.run} of flow {run.spec.flow}", failure)
            decided = run.decide(RunStatus.FAILED, failure)
        except Exception:
            logger.exception("run %s of flow %s met a defect of the server", run.run, run.spec.flow)
            error = Defect(DEFECT_MESSAGE, metadata={"run": run.run, "incident": run.run})
            decided = run.decide(RunStatus.FAILED, error)
        if decided:
            await self._end(run)

    async def _wait_turn(self, run: Run) -> None:
        """Waits until no run before this one is live in its session."""
        while self._turns is not None and run.accepted is not None and run.accepted.status is RunStatus.QUEUED:
            asked = keeping.acceptance(run, turns=True, history_rounds_max=self._settings.history_rounds_max)
            rounds_max = asked.question.history_rounds_max if asked.question else 0
            start = Start(accepted=run.accepted, history_rounds_max=rounds_max, start_time=datetime.now(UTC))
            accepted = await self._turns.start(start)
            if accepted is None:
                raise RunInterrupted("the run was erased before it began", metadata={"run": run.run})
            run.accepted = accepted
            if accepted.status is RunStatus.QUEUED:
                await asyncio.sleep(QUEUE_POLL_S)

    async def _with_history(self, run: Run, flow: Flow, arguments: Mapping[str, object]) -> Mapping[str, object]:
        if run.accepted is None or not run.accepted.rounds:
            return arguments
        rounds = keeping.history(run.spec, run.accepted.rounds)
        return await flow.arguments({**run.command.inputs, run.spec.chat_history: rounds})

    async def _end(self, run: Run) -> None:
        """Stores how the run ended, and then tells it."""
        if self._turns is not None and run.accepted is not None and run.accepted.run_key:
            try:
                await self._turns.finish(keeping.ending(run, run.accepted))
            except StoreUnavailable as failure:
                failure.metadata["run"] = run.run
                logger.warning("how run %s ended is not stored yet: %s", run.run, failure.message)
                run.unrecorded(failure)
                self._ended(run)
                return
        run.finished()
        self._ended(run)

    def _follows(self, run: Run) -> bool:
        """Whether the run stands for one that an earlier call began."""
        return run.task is not None and not run.task.done() and self._live.get(run.run) is not run

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ended(self, run: Run) -> None:
        """Lets go of a run whose end was told and whose flow has come to rest."""
        told = run.status.terminal or run.log.ended
        if told and run.task is not None and run.task.done():
            self._forget(run)

    def _forget(self, run: Run) -> None:
        if self._live.get(run.run) is run:
            del self._live[run.run]
        if not self._live:
            self._idle.set()


def _canceled(run: Run) -> RunCanceled:
    return RunCanceled("the run was cancelled", metadata={"run": run.run})


def _log_failure(what: str, failure: Failure) -> None:
    cause = None if isinstance(failure, InputRefused) else failure.__cause__
    trace = (type(cause), cause, cause.__traceback__) if cause is not None else None
    logger.warning("%s failed: %s", what, failure.message, exc_info=trace)
