"""The live runs of sessions, in the order of their turns: one executes, the others wait for it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, select

from penstock_server.errors import RETRY_AFTER_S, Failure, SessionBusy, TooManyRuns
from penstock_server.runs.events import OnBusy, RunStatus
from penstock_server.store.records import Acceptance
from penstock_server.store.sql.schema import Tables, live, place


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run of a session that has not ended."""

    run: str
    run_key: int
    turn: int
    waits: bool
    """Whether it waits to be executed, and nobody has asked it to end."""


class Queue:
    """The live runs of a session that is locked, with those that the transaction adds.

    Args:
        live: in the order of their turns.
    """

    def __init__(self, session: str, live: Sequence[LiveRun]) -> None:
        self._session = session
        self._live = list(live)
        self.interrupted: list[int] = []
        """The keys of the runs that are to be asked to end."""

    def refusal(self, acceptance: Acceptance) -> Failure | None:
        """Why a run cannot join; None where it can."""
        waiting = sum(run.waits for run in self._live)
        if self._live and acceptance.on_busy is OnBusy.REJECT:
            return SessionBusy(
                "another run of this session has not ended; wait for its end, cancel it, or let this one wait with "
                "options.on_busy QUEUE",
                metadata={"session": self._session, "run": self._live[-1].run},
                retry_after_s=RETRY_AFTER_S,
            )
        if self._live and acceptance.on_busy is OnBusy.QUEUE and waiting >= acceptance.session_queue_max:
            return TooManyRuns(
                f"as many runs of this session wait as may ({acceptance.session_queue_max}); try again when some have "
                "ended",
                metadata={"session": self._session},
                retry_after_s=RETRY_AFTER_S,
            )
        return None

    def join(self, acceptance: Acceptance, run_key: int, turn: int) -> tuple[RunStatus, tuple[str, ...]]:
        """Adds a run with its turn; returns how it stands, and whom it interrupts."""
        waits = acceptance.queued or bool(self._live)
        interrupts: tuple[str, ...] = ()
        if self._live and acceptance.on_busy is OnBusy.INTERRUPT:
            interrupts = tuple(run.run for run in self._live)
            self.interrupted = [run.run_key for run in self._live]
            self._live = [replace(run, waits=False) for run in self._live]
        self._live.append(LiveRun(run=acceptance.run, run_key=run_key, turn=turn, waits=waits))
        return (RunStatus.QUEUED if waits else RunStatus.RUNNING), interrupts


class Queues:
    """Reads who waits for whom.

    What is read of a session that is locked stays true while the transaction lasts, but for runs that end. A turn that
    may begin may do so for good: turns only grow.
    """

    def __init__(self, tables: Tables) -> None:
        runs = tables.runs.c
        self._live = (
            select(
                runs.session_key,
                runs.run,
                runs.run_key,
                place(tables.runs).label("turn"),
                runs.status,
                runs.cancel_requested,
            )
            .where(runs.session_key.in_(bindparam("sessions", expanding=True)), live(tables.runs))
            .order_by(place(tables.runs))
        )

    def live(self, connection: Connection, session_keys: Collection[int]) -> Mapping[int, Sequence[LiveRun]]:
        """The live runs of each session that has any, in their order."""
        found: dict[int, list[LiveRun]] = defaultdict(list)
        if session_keys:
            for row in connection.execute(self._live, {"sessions": sorted(session_keys)}):
                waits = row.status == RunStatus.QUEUED.value and not row.cancel_requested
                run = LiveRun(run=row.run, run_key=row.run_key, turn=row.turn, waits=waits)
                found[row.session_key].append(run)
        return found
