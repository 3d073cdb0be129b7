"""Executes runs, each under a task of its own, and sees every one to its end."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping

from penstock.flow import Call, current_call
from penstock_server.errors import (
    DEFECT_MESSAGE,
    Defect,
    Failure,
    FlowFailed,
    InputRefused,
    RunInterrupted,
    StoreUnavailable,
)
from penstock_server.flows.flow import Flow
from penstock_server.runs import keeping
from penstock_server.runs.events import RunStatus
from penstock_server.runs.run import Run
from penstock_server.runs.tasks import Tasks
from penstock_server.store.records import RunRecord
from penstock_server.store.store import Store

logger = logging.getLogger("penstock.runs")

CLEANUP_S = 10.0
"""How long it is waited for cancelled flows to end: for the `finally` of their code."""
TAKEN_OVER_S = 0.1
"""How often it is looked whether who took a run over has ended it."""


class Executor:
    """Executes runs.

    Args:
        store: where it is kept how they end; None keeps nothing.
        rested: called once a run's end was told and its flow has come to rest.
    """

    def __init__(self, store: Store | None, rested: Callable[[Run], None]) -> None:
        self._store = store
        self._rested = rested
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()

    def start(self, run: Run, flow: Flow, arguments: Mapping[str, object]) -> None:
        """Lets a run execute, beginning with the next pass of the event loop."""
        run.status = RunStatus.RUNNING
        run.task = self._loop.create_task(self._execute(run, flow, arguments), context=contextvars.Context())

    def end(self, run: Run, status: RunStatus, error: Failure) -> bool:
        """Ends a run before its time, whether it executes or waits. False where its end is decided already.

        Its end is told once its flow has come to rest, so that who knows of it knows that the work has stopped. Where
        the server stops, that is not waited for.
        """
        if not run.decide(status, error):
            return False
        self._cancel(run)
        self._tasks.start(self._end(run) if status is RunStatus.INTERRUPTED else self._end_at_rest(run))
        return True

    def fail(self, run: Run, error: Failure) -> None:
        """Ends a run as FAILED, unless its end is decided already."""
        self.end(run, RunStatus.FAILED, error)

    def lost(self, run: Run) -> None:
        """The run is another owner's, or was erased: it ends here as it did there."""
        error = RunInterrupted("the run was taken over by another instance, or erased", metadata={"run": run.run})
        if run.decide(RunStatus.INTERRUPTED, error):
            logger.warning("run %s is not this instance's any more", run.run)
            self._cancel(run)
            self._tasks.start(self._follow_owner(run))

    def _cancel(self, run: Run) -> None:
        """Asks the flow to end, if it executes."""
        if run.task is not None:
            run.task.cancel()
            # A task that is cancelled before its first step never enters its body.
            run.task.add_done_callback(lambda _: self._rest(run))

    async def _execute(self, run: Run, flow: Flow, arguments: Mapping[str, object]) -> None:
        current_call.set(Call(run.run, run.spec.flow, run.command.session, run.command.user))
        try:
            run.started()
            if run.accepted is not None and run.accepted.rounds:
                rounds = keeping.history(run.spec, run.accepted.rounds)
                arguments = await flow.arguments({**run.command.inputs, run.spec.chat_history: rounds})
            run.outputs = await flow.execute(arguments, run)
            decided = run.decide(RunStatus.SUCCEEDED)
        except asyncio.CancelledError:
            # Where somebody asked for it, `end` has said why already. Else the flow's own code cancelled its task.
            name = run.spec.flow
            failure = FlowFailed(f"flow `{name}` cancelled its own run", metadata={"flow": name, "run": run.run})
            decided = run.decide(RunStatus.FAILED, failure)
        except Failure as failure:
            failure.metadata.setdefault("run", run.run)
            log_failure(f"run {run.run} of flow {run.spec.flow}", failure)
            decided = run.decide(RunStatus.FAILED, failure)
        except Exception:
            logger.exception("run %s of flow %s met a defect of the server", run.run, run.spec.flow)
            error = Defect(DEFECT_MESSAGE, metadata={"run": run.run, "incident": run.run})
            decided = run.decide(RunStatus.FAILED, error)
        if decided:
            await self._end(run)
        self._rest(run)

    def _rest(self, run: Run) -> None:
        """The flow has come to rest."""
        run.task = None
        self._look(run)

    async def _end_at_rest(self, run: Run) -> None:
        if run.task is not None:
            _, at_work = await asyncio.wait((run.task,), timeout=CLEANUP_S)
            if at_work:
                logger.warning("run %s did not clean up within %g s of its cancellation", run.run, CLEANUP_S)
        await self._end(run)

    async def _end(self, run: Run) -> None:
        """Stores how the run ended, and then tells it."""
        if self._store is not None and run.accepted is not None and run.kept:
            run.announce()  # it may end before it began
            run.log.keeper = None  # the ending brings the rest of the log
            try:
                ended = await self._store.turns.finish(keeping.ending(run, run.accepted))
            except StoreUnavailable as failure:
                failure.metadata["run"] = run.run
                logger.warning("how run %s ended is not stored yet: %s", run.run, failure.message)
                run.unrecorded(failure)
                self._look(run)
                return
            if not ended:
                await self._follow_owner(run)
                return
        run.finished()
        self._look(run)

    async def _follow_owner(self, run: Run) -> None:
        """Tells the end that the run's owner, or the last of them, has stored."""
        assert self._store is not None  # noqa: S101 - only stored runs have other owners
        try:
            while (record := await self._store.runs.get(run.run)) is not None:
                if record.status.terminal:
                    await self._tell(run, record)
                    break
                await asyncio.sleep(TAKEN_OVER_S)
            else:
                run.finished()  # it was erased, so what this instance knows of it is all there is
        except StoreUnavailable as failure:
            run.unrecorded(failure)
        self._look(run)

    async def _tell(self, run: Run, record: RunRecord) -> None:
        assert self._store is not None  # noqa: S101 - the record comes from there
        page = await self._store.runs.log(run.run, run.log.tellable)
        if page is None or page.end is None:
            run.finished()
        else:
            run.taken_over(record, page.end)

    def _look(self, run: Run) -> None:
        told = run.status.terminal or run.log.ended
        if told and run.task is None:
            self._rested(run)


def log_failure(what: str, failure: Failure) -> None:
    """Logs a failure with what caused it, unless the flow meant its caller to have it."""
    cause = None if isinstance(failure, InputRefused) else failure.__cause__
    trace = (type(cause), cause, cause.__traceback__) if cause is not None else None
    logger.warning("%s failed: %s", what, failure.message, exc_info=trace)
