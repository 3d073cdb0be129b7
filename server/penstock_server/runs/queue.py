"""Which runs execute now, and which wait: for a place among all, among their user's, or for their session.

Runs wait in the order in which they were accepted. Whether a session is free is for the store to say, because other
instances run the same session's runs; this queue only knows when asking makes sense.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from penstock_server.errors import RETRY_AFTER_S, Failure, SessionBusy, StoreUnavailable, TooManyRuns
from penstock_server.flows.flow import Flow
from penstock_server.runs.events import RunStatus
from penstock_server.runs.run import Run
from penstock_server.runs.tasks import Tasks
from penstock_server.store.records import Accepted, Start
from penstock_server.store.store import Turns

RETRY_S = 0.5
"""How long a start waits that did not reach the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The limits of the queue; `ServerConfig` explains each."""

    runs_max: int
    user_runs_max: int
    queue_max: int
    queue_wait_s: float


class Places:
    """Who executes now.

    Args:
        runs_max: how many runs at once.
        user_runs_max: how many of one user; 0 sets no limit.
    """

    def __init__(self, runs_max: int, user_runs_max: int) -> None:
        self._runs_max = runs_max
        self._user_runs_max = user_runs_max
        self._users: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def take(self, run: Run) -> bool:
        """Takes a place for a run; False where there is none."""
        user = run.user if self._user_runs_max else ""
        if len(self._users) >= self._runs_max or (user and self._counts[user] >= self._user_runs_max):
            return False
        self._users[run.run] = user
        if user:
            self._counts[user] += 1
        return True

    def give_back(self, run: Run) -> None:
        """Gives a run's place back, if it has one."""
        user = self._users.pop(run.run, "")
        if user:
            self._counts[user] -= 1
            if not self._counts[user]:
                del self._counts[user]


@dataclass(slots=True, kw_only=True)
class Waiting:
    """A run that waits."""

    run: Run
    flow: Flow
    arguments: Mapping[str, object]
    history_rounds_max: int
    timer: asyncio.TimerHandle
    session_is_busy: bool = False
    """Whether it waits for its session, as far as the store has said, or else for a place."""
    ready: bool = True
    """Whether asking the store again may change something."""
    starting: bool = False


class Queue:
    """The runs of this instance that wait.

    Args:
        turns: asked whether a run's session is free; None where nothing is stored.
        start: lets a run execute.
        end: ends a run that waited for too long.
        lost: called for a run that another owner has taken over, or that was erased.
    """

    def __init__(
        self,
        settings: QueueSettings,
        turns: Turns | None,
        *,
        start: Callable[[Run, Flow, Mapping[str, object]], None],
        end: Callable[[Run, Failure], object],
        lost: Callable[[Run], None],
    ) -> None:
        self._settings = settings
        self._turns = turns
        self._start = start
        self._end = end
        self._lost = lost
        self._places = Places(settings.runs_max, settings.user_runs_max)
        self._waiting: dict[str, Waiting] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()

    def enter(self, run: Run) -> bool:
        """Whether a run can execute at once, as far as this instance is concerned; if so, it has its place.

        Raises:
            TooManyRuns: it would have to wait, and as many wait as may.
        """
        if self._places.take(run):
            return True
        if len(self._waiting) >= self._settings.queue_max:
            raise TooManyRuns(
                "the service executes as many runs as it may, in all or of this user, and as many wait "
                f"({self._settings.queue_max}); try again shortly",
                retry_after_s=RETRY_AFTER_S,
            )
        return False

    def wait(self, run: Run, flow: Flow, arguments: Mapping[str, object], history_rounds_max: int) -> None:
        """Lets an accepted run wait; it holds no place meanwhile."""
        self._places.give_back(run)
        self._waiting[run.run] = Waiting(
            run=run,
            flow=flow,
            arguments=arguments,
            history_rounds_max=history_rounds_max,
            timer=self._loop.call_later(self._settings.queue_wait_s, self._too_late, run),
        )
        self._loop.call_soon(self._look)

    def leave(self, run: Run) -> None:
        """A run has ended, or is not to be executed here."""
        waiting = self._waiting.pop(run.run, None)
        if waiting is not None:
            waiting.timer.cancel()
        self._places.give_back(run)
        if self._waiting:
            self._ask_again(each for each in self._waiting.values() if each.run.session == run.session)

    def ready(self, runs: Iterable[str]) -> None:
        """The sessions of these runs are free, as far as the store knows."""
        self._ask_again(self._waiting[name] for name in runs if name in self._waiting)

    async def close(self) -> None:
        """Lets nothing start any more."""
        for waiting in self._waiting.values():
            waiting.timer.cancel()
        await self._tasks.cancel()

    def _ask_again(self, waiting: Iterable[Waiting]) -> None:
        for each in waiting:
            each.ready = True
        self._look()

    def _look(self) -> None:
        """Starts those that can be."""
        for waiting in list(self._waiting.values()):
            if waiting.ready and not waiting.starting and self._places.take(waiting.run):
                waiting.ready, waiting.starting = False, True
                self._tasks.start(self._try(waiting))

    async def _try(self, waiting: Waiting) -> None:
        run = waiting.run
        try:
            accepted = await self._ask(waiting)
        except StoreUnavailable:
            waiting.ready = True
            await asyncio.sleep(RETRY_S)
        else:
            waiting.session_is_busy = accepted is not None and accepted.status is RunStatus.QUEUED
            if accepted is None:
                self.leave(run)
                self._lost(run)
                return
            if accepted.status is RunStatus.RUNNING and run.run in self._waiting and run.decided is None:
                del self._waiting[run.run]
                waiting.timer.cancel()
                if run.kept:
                    run.accepted = accepted
                self._start(run, waiting.flow, waiting.arguments)
                return
        waiting.starting = False
        self._places.give_back(run)
        self._look()

    async def _ask(self, waiting: Waiting) -> Accepted | None:
        accepted = waiting.run.accepted
        if self._turns is None or accepted is None or not waiting.run.kept:
            return accepted or Accepted()
        return await self._turns.start(
            Start(accepted=accepted, history_rounds_max=waiting.history_rounds_max, start_time=datetime.now(UTC))
        )

    def _too_late(self, run: Run) -> None:
        wait_s, metadata = self._settings.queue_wait_s, {"run": run.run, "session": run.session}
        failure: Failure
        if self._waiting[run.run].session_is_busy:
            text = f"the run waited for {wait_s:g} s (queue_wait_s) for those before it in its session"
            failure = SessionBusy(text, metadata=metadata, retry_after_s=RETRY_AFTER_S)
        else:
            text = f"the run waited for {wait_s:g} s (queue_wait_s), and the service still executes as many as it may"
            failure = TooManyRuns(text, metadata=metadata, retry_after_s=RETRY_AFTER_S)
        self._end(run, failure)
