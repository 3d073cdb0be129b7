"""The runs of a server: accept one, execute it under a task of its own, and see every one to its end."""

import asyncio
import contextvars
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from penstock.flow import Call, current_call
from penstock_server.errors import (
    DEFECT_MESSAGE,
    Defect,
    Draining,
    Failure,
    FlowFailed,
    FlowNotFound,
    InputRefused,
    RunCanceled,
    RunInterrupted,
    TooManyRuns,
)
from penstock_server.flows.flow import Flow
from penstock_server.ids import new_id
from penstock_server.runs.events import RunStatus
from penstock_server.runs.log import EventLog
from penstock_server.runs.run import InvokeCommand, Run

logger = logging.getLogger("penstock.runs")

RETRY_AFTER_S = 1.0
"""When a caller that was turned away should come back."""
CLEANUP_S = 10.0
"""How long a stopping server waits for cancelled flows to end: for the `finally` of their code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """The limits of runs; `ServerConfig` explains each."""

    run_window_bytes: int
    run_log_bytes_max: int
    runs_max: int


class Runs:
    """Accepts and executes runs.

    Args:
        flows: the served flows by id; the first is the default flow.
    """

    def __init__(self, flows: Mapping[str, Flow], settings: RunSettings) -> None:
        self._flows = flows
        self._default = next(iter(flows))
        self._settings = settings
        self._live: set[Run] = set()
        self._draining = False
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def live(self) -> int:
        """How many runs have been accepted and have not ended."""
        return len(self._live)

    async def accept(self, command: InvokeCommand) -> Run:
        """Accepts a run and lets it execute, beginning with the next pass of the event loop.

        Raises:
            FlowNotFound: no such flow is served.
            InvalidRequest: the inputs are not what the flow takes.
            FlowFailed: the flow's own checks of its inputs raised.
            TooManyRuns: `runs_max` runs are live.
            Draining: the server was asked to stop.
        """
        flow = self.flow(command.flow)
        try:
            arguments = await flow.arguments(command.inputs)
        except FlowFailed as failure:
            _log_failure(f"the inputs of flow {flow.spec.flow}", failure)
            raise
        if self._draining:
            raise Draining.now()
        if len(self._live) >= self._settings.runs_max:
            raise TooManyRuns(
                f"the service executes as many runs as it may ({self._settings.runs_max}); try again shortly",
                retry_after_s=RETRY_AFTER_S,
            )
        log = EventLog(self._settings.run_window_bytes)
        log_bytes_max = self._settings.run_log_bytes_max
        run = Run(new_id(), flow.spec, command, log=log, log_bytes_max=log_bytes_max, loop=self._loop)
        self._live.add(run)
        self._idle.clear()
        run.task = self._loop.create_task(self._execute(run, flow, arguments), context=contextvars.Context())
        run.task.add_done_callback(lambda _: self._forget(run))
        return run

    def flow(self, name: str) -> Flow:
        """The flow of this id; the default flow for the empty id. Raises FlowNotFound."""
        flow = self._flows.get(name or self._default)
        if flow is None:
            raise FlowNotFound(f"there is no flow {name!r}; GET /v1/flows lists them", metadata={"flow": name})
        return flow

    def cancel(self, run: Run, error: Failure | None = None, status: RunStatus = RunStatus.CANCELED) -> None:
        """Ends a run before its time. Does nothing to a run that has ended."""
        if run.status.terminal or run.task is None:
            return
        run.finished(status, error or RunCanceled("the run was cancelled", metadata={"run": run.run}))
        run.task.cancel()

    async def drain(self, drain_s: float) -> None:
        """Lets live runs finish for `drain_s` seconds, and interrupts those that do not."""
        self._draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), drain_s)
        except TimeoutError:
            logger.warning("interrupting %d runs that did not end within %g s", len(self._live), drain_s)
        for run in list(self._live):
            error = RunInterrupted(
                "the server stopped before the run ended", metadata={"run": run.run}, retry_after_s=RETRY_AFTER_S
            )
            self.cancel(run, error, RunStatus.INTERRUPTED)
        try:
            await asyncio.wait_for(self._idle.wait(), CLEANUP_S)
        except TimeoutError:
            logger.warning("%d runs did not clean up within %g s of their cancellation", len(self._live), CLEANUP_S)

    async def _execute(self, run: Run, flow: Flow, arguments: Mapping[str, object]) -> None:
        current_call.set(Call(run.run, run.spec.flow, run.command.session, run.command.user))
        try:
            run.started()
            run.outputs = await flow.execute(arguments, run)
            run.finished(RunStatus.SUCCEEDED)
        except asyncio.CancelledError:
            # Where somebody asked for it, `cancel` has said why already. Else the flow's own code cancelled its task.
            name = run.spec.flow
            failure = FlowFailed(f"flow `{name}` cancelled its own run", metadata={"flow": name, "run": run.run})
            run.finished(RunStatus.FAILED, failure)
        except Failure as failure:
            failure.metadata.setdefault("run", run.run)
            _log_failure(f"run {run.run} of flow {run.spec.flow}", failure)
            run.finished(RunStatus.FAILED, failure)
        except Exception:
            logger.exception("run %s of flow %s met a defect of the server", run.run, run.spec.flow)
            run.finished(RunStatus.FAILED, Defect(DEFECT_MESSAGE, metadata={"run": run.run, "incident": run.run}))

    def _forget(self, run: Run) -> None:
        # A callback of the task, because a task that is cancelled before its first step never enters its body.
        self._live.discard(run)
        if not self._live:
            self._idle.set()


def _log_failure(what: str, failure: Failure) -> None:
    cause = None if isinstance(failure, InputRefused) else failure.__cause__
    trace = (type(cause), cause, cause.__traceback__) if cause is not None else None
    logger.warning("%s failed: %s", what, failure.message, exc_info=trace)
