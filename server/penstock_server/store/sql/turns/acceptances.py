"""Runs that are accepted: the run, its session, and the user's message."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from penstock_server.errors import Failure, SessionNotFound
from penstock_server.runs.events import OnBusy, RunStatus
from penstock_server.store.records import Acceptance, Accepted, Role, RunRecord, Scope
from penstock_server.store.sql import documents
from penstock_server.store.sql.database import Collided, Dialect
from penstock_server.store.sql.keys import Keys, to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.claims import Claims
from penstock_server.store.sql.turns.owners import Owners
from penstock_server.store.sql.turns.queues import Queue, Queues
from penstock_server.store.sql.turns.said import Said
from penstock_server.store.sql.turns.sessionlocks import Locked, SessionLocks, title_of

Outcome = Accepted | RunRecord | Failure
Rows = dict[str, dict[str, Any]]
"""Rows of runs, by run."""

FIRST_ATTEMPT = 1


class Acceptances:
    """Writes batches of acceptances.

    Args:
        instance: who executes the runs.
        idempotency_window_s: how long an idempotency key is kept.
    """

    def __init__(
        self,
        tables: Tables,
        dialect: Dialect,
        keys: Keys,
        queues: Queues,
        *,
        instance: str,
        idempotency_window_s: float,
    ) -> None:
        self._keys = keys
        self._instance = instance
        self._dialect = dialect
        self._channel = tables.channel
        self._queues = queues
        self._locks = SessionLocks(tables, dialect)
        self._owners = Owners(tables)
        self._claims = Claims(tables, dialect, idempotency_window_s)
        runs = tables.runs
        self._insert_runs = insert(runs)
        self._give_turns = (
            update(runs)
            .where(runs.c.run_key == bindparam("key"))
            .values({name: bindparam(f"given_{name}") for name in ("session_key", "turn", "status", "start_time_us")})
        )
        self._request_cancel = (
            update(runs).where(runs.c.run_key.in_(bindparam("keys", expanding=True))).values(cancel_requested=1)
        )
        self._find = select(runs.c.run, runs.c.run_key, runs.c.session_key, runs.c.turn, runs.c.status).where(
            runs.c.run.in_(bindparam("runs", expanding=True))
        )

    def claim(self, connection: Connection, acceptances: Sequence[Acceptance], *, repeated: bool) -> "Batch":
        """Begins a batch: what has an outcome already gets it. No session is locked yet.

        Args:
            repeated: whether the same acceptances may have been committed before.
        """
        batch = Batch(self._written_before(connection, acceptances) if repeated else {})
        batch.rows = {each.run: self._row(each) for each in batch.undecided(acceptances) if each.stored}
        keyed = [each for each in batch.undecided(acceptances) if each.idempotency is not None]
        batch.outcomes |= self._claims.claim(connection, keyed, batch.rows)
        return batch

    def make_sessions(self, connection: Connection, acceptances: Sequence[Acceptance], batch: "Batch") -> None:
        """Makes the sessions that turns need and that do not exist, for the caller to lock with the others.

        Not those of which only we know: nobody else can be making them.

        Raises:
            Collided: others have made some of them by now.
        """
        new = [each for each in batch.undecided(acceptances) if not each.session_is_new]
        missing = self._locks.missing(connection, {each.session for each in new if _adds_turn(each)})
        if not missing:
            return
        new = [each for each in new if each.session in missing]
        owners = self._owners.find(connection, new, {})
        made: dict[str, Locked] = {}
        for each in new:
            if _adds_turn(each) and Scope(user=each.user).reaches(owners[each.session]):
                made.setdefault(each.session, self._new_session(each, owners[each.session]))
        self._locks.make(connection, made.values())

    def interrupted(
        self, connection: Connection, acceptances: Sequence[Acceptance], batch: "Batch", sessions: Mapping[str, Locked]
    ) -> set[int]:
        """The keys of the runs that may have to be asked to end, for the caller to lock.

        Args:
            sessions: the sessions that exist, locked.
        """
        interrupting = [
            each.session
            for each in batch.undecided(acceptances)
            if each.on_busy is OnBusy.INTERRUPT and each.session in sessions
        ]
        live = self._queues.live(connection, {sessions[name].session_key for name in interrupting})
        return {run.run_key for runs in live.values() for run in runs}

    def write(
        self, connection: Connection, acceptances: Sequence[Acceptance], batch: "Batch", sessions: dict[str, Locked]
    ) -> list[Outcome]:
        """Writes what has no outcome yet, but for the messages: `batch.said` has them for the caller to add.

        The outcomes come without rounds.

        Args:
            sessions: the sessions that exist, locked; those of which only we know join them. The caller writes them
                back.

        Raises:
            Collided: a session was deleted after it had been found, before it was locked.
        """
        new = batch.undecided(acceptances)
        for each in new:
            if each.session_is_new and _adds_turn(each):
                sessions.setdefault(each.session, self._new_session(each, each.user))
        owners = self._owners.find(connection, new, sessions)
        queues = self._queues_of(connection, new, batch, sessions)
        for each in new:
            session = sessions.get(each.session)
            owner = session.user if session else owners.get(each.session, each.user)
            if not Scope(user=each.user).reaches(owner):
                batch.outcomes[each.run] = SessionNotFound.of(each.session)
                continue
            if session is None and _adds_turn(each):
                raise Collided
            self._accept(each, session, queues.get(session.session_key) if session else None, batch)
        self._write_runs(connection, new, batch)
        batch.refuse_repeats()
        self._interrupt(connection, {run for queue in queues.values() for run in queue.interrupted})
        return [batch.outcomes[each.run] for each in acceptances]

    def _written_before(self, connection: Connection, acceptances: Sequence[Acceptance]) -> dict[str, Outcome]:
        rows = connection.execute(self._find, {"runs": [each.run for each in acceptances]})
        return {
            row.run: Accepted(
                run_key=row.run_key,
                session_key=row.session_key,
                turn=abs(row.turn),
                attempt=FIRST_ATTEMPT,
                status=RunStatus.QUEUED if row.status == RunStatus.QUEUED.value else RunStatus.RUNNING,
            )
            for row in rows
        }

    def _queues_of(
        self, connection: Connection, new: Collection[Acceptance], batch: "Batch", sessions: Mapping[str, Locked]
    ) -> Mapping[int, Queue]:
        """The queues of the sessions that get turns."""
        names = {each.session for each in new if each.question is not None and each.run in batch.rows}
        turned = [sessions[name] for name in names if name in sessions]
        live = self._queues.live(connection, {each.session_key for each in turned if not each.is_new})
        return {each.session_key: Queue(each.session, live.get(each.session_key, ())) for each in turned}

    def _new_session(self, acceptance: Acceptance, owner: str) -> Locked:
        time_us = to_us(acceptance.create_time)
        question = acceptance.question
        return Locked(
            session=acceptance.session,
            session_key=self._keys.next(time_us),
            user=owner,
            flow=acceptance.flow,
            title=title_of(question.content.get(question.text_of)) if question else "",
            time_us=time_us,
            is_new=acceptance.session_is_new,
        )

    def _accept(self, acceptance: Acceptance, session: Locked | None, queue: Queue | None, batch: "Batch") -> None:
        row = batch.rows.get(acceptance.run)
        if acceptance.question is not None and session is not None:
            if row is None:
                batch.outcomes[acceptance.run] = Accepted(session_key=session.session_key)
            elif queue is not None:
                self._give_turn(acceptance, session, queue, row, batch)
        elif row is None:
            batch.outcomes[acceptance.run] = Accepted()
        else:
            status = RunStatus.QUEUED if acceptance.queued else RunStatus.RUNNING
            _stand(row, status)
            batch.outcomes[acceptance.run] = Accepted(run_key=row["run_key"], attempt=FIRST_ATTEMPT, status=status)

    def _give_turn(
        self, acceptance: Acceptance, session: Locked, queue: Queue, row: dict[str, Any], batch: "Batch"
    ) -> None:
        refusal = queue.refusal(acceptance)
        if refusal is not None:
            batch.outcomes[acceptance.run] = refusal
            return
        turn = session.add(to_us(acceptance.create_time))
        status, interrupts = queue.join(acceptance, row["run_key"], turn)
        row |= {"session_key": session.session_key, "turn": turn}
        _stand(row, status)
        batch.said.append(_question(acceptance, session, turn))
        batch.outcomes[acceptance.run] = Accepted(
            run_key=row["run_key"],
            session_key=session.session_key,
            turn=turn,
            attempt=FIRST_ATTEMPT,
            status=status,
            interrupts=interrupts,
        )

    def _write_runs(self, connection: Connection, new: Sequence[Acceptance], batch: "Batch") -> None:
        """Inserts the runs; those with a key are there already, and get their turns or are taken back."""
        unkeyed, given, refused = [], [], []
        for each in new:
            row = batch.rows.get(each.run)
            if row is None:
                continue
            accepted = isinstance(batch.outcomes[each.run], Accepted)
            if accepted and each.idempotency is None:
                unkeyed.append(row)
            elif accepted:
                values = {f"given_{name}": row[name] for name in ("session_key", "turn", "status", "start_time_us")}
                given.append({"key": row["run_key"], **values})
            elif each.idempotency is not None:
                refused.append(row["run_key"])
        if unkeyed:
            connection.execute(self._insert_runs, unkeyed)
        if given:
            connection.execute(self._give_turns, given)
        if refused:
            self._claims.release(connection, refused)

    def _interrupt(self, connection: Connection, run_keys: Collection[int]) -> None:
        if run_keys:
            connection.execute(self._request_cancel, {"keys": sorted(run_keys)})
            self._dialect.notify(connection, self._channel)

    def _row(self, acceptance: Acceptance) -> dict[str, Any]:
        key = acceptance.idempotency
        time_us = to_us(acceptance.create_time)
        return {
            "run_key": self._keys.next(time_us),
            "run": acceptance.run,
            "attempt": FIRST_ATTEMPT,
            "status": RunStatus.RUNNING.value,
            "instance": self._instance,
            "flow": acceptance.flow,
            "snapshot": acceptance.snapshot,
            "session": acceptance.session,
            "session_key": 0,
            "turn": 0,
            "user": acceptance.user,
            "principal": key.principal if key else "",
            "idempotency_key": key.key if key else None,
            "request_digest": key.request_digest if key else None,
            "inputs": documents.dump(acceptance.inputs) if _holds_inputs(acceptance) else None,
            "input_tokens": 0,
            "output_tokens": 0,
            "create_time_us": time_us,
            "start_time_us": time_us,
            "sequence_reserved": acceptance.sequence_reserved,
            "on_disconnect": acceptance.on_disconnect.value,
        }


class Batch:
    """What becomes of the acceptances of a transaction."""

    def __init__(self, outcomes: dict[str, Outcome]) -> None:
        self.outcomes = outcomes
        self.rows: Rows = {}
        """The runs that are to be stored."""
        self.said: list[Said] = []

    def undecided(self, acceptances: Sequence[Acceptance]) -> list[Acceptance]:
        """Those of the acceptances that have no outcome yet."""
        return [each for each in acceptances if each.run not in self.outcomes]

    def refuse_repeats(self) -> None:
        """Who repeats a request of this transaction that was refused is refused as well: its run is not there."""
        for run, outcome in self.outcomes.items():
            first = self.outcomes.get(outcome.run) if isinstance(outcome, RunRecord) else None
            if isinstance(first, Failure):
                self.outcomes[run] = first


def _adds_turn(acceptance: Acceptance) -> bool:
    """Whether the run has a place in its session's history, and so needs the session."""
    return acceptance.question is not None and acceptance.stored


def _stand(row: dict[str, Any], status: RunStatus) -> None:
    row["status"] = status.value
    row["start_time_us"] = row["create_time_us"] if status is RunStatus.RUNNING else None


def _holds_inputs(acceptance: Acceptance) -> bool:
    """Whether the run's own row holds its inputs: the turn's message would not hold them all.

    It leaves out the history that a caller brought along. Whoever takes the run over needs that, too.
    """
    question = acceptance.question
    return question is None or (not question.history_rounds_max and len(acceptance.inputs) > len(question.content))


def _question(acceptance: Acceptance, session: Locked, turn: int) -> Said:
    question = acceptance.question
    assert question is not None  # noqa: S101 - only questions make turns
    return Said(
        session=session.session,
        session_key=session.session_key,
        user=session.user,
        turn=turn,
        role=Role.USER,
        run=acceptance.run,
        flow=acceptance.flow,
        status=None,
        text_of=question.text_of,
        content=question.content,
        time_us=to_us(acceptance.create_time),
    )
