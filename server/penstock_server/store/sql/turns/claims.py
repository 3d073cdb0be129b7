"""Idempotency keys: who uses one first has it, and others get that run (contract: Idempotency-Key)."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from penstock_server.errors import Failure, IdempotencyKeyReused
from penstock_server.store.records import Acceptance, Idempotency, RunRecord
from penstock_server.store.sql.database import Dialect
from penstock_server.store.sql.keys import to_us
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.runrecords import RunRecords

MICROSECONDS = 1_000_000


class Claims:
    """Claims keys for runs.

    Args:
        window_s: how long a key is kept, in seconds.
    """

    def __init__(self, tables: Tables, dialect: Dialect, window_s: float) -> None:
        runs = tables.runs
        self._records = RunRecords(tables)
        self._window_us = int(window_s * MICROSECONDS)
        self._insert = dialect.insert_new(runs)
        self._find = select(
            runs.c.run, runs.c.run_key, runs.c.request_digest, runs.c.session, runs.c.create_time_us
        ).where(
            runs.c.principal == bindparam("of_principal"),
            runs.c.user == bindparam("of_user"),
            runs.c.idempotency_key == bindparam("of_key"),
        )
        self._expire = update(runs).where(runs.c.run_key == bindparam("key")).values(idempotency_key=None)
        self._delete = delete(runs).where(runs.c.run_key == bindparam("key"))

    def claim(
        self, connection: Connection, acceptances: Sequence[Acceptance], rows: dict[str, dict[str, Any]]
    ) -> dict[str, RunRecord | Failure]:
        """Inserts the runs whose keys are free.

        Args:
            rows: the runs' rows, by run.

        Returns:
            For those whose keys are not: the run that has the key, or why there is none to be given.
        """
        taken: dict[str, RunRecord | Failure] = {}
        for each in sorted(acceptances, key=_order):
            found = self._insert_or_find(connection, each, rows[each.run])
            if found.run != each.run:
                taken[each.run] = self._known(connection, each, found)
        return taken

    def release(self, connection: Connection, run_keys: Sequence[int]) -> None:
        """Takes inserted runs back."""
        connection.execute(self._delete, [{"key": key} for key in run_keys])

    def _insert_or_find(self, connection: Connection, acceptance: Acceptance, row: dict[str, Any]) -> Any:
        owner = {
            "of_principal": row["principal"],
            "of_user": row["user"],
            "of_key": row["idempotency_key"],
        }
        connection.execute(self._insert, row)
        found = connection.execute(self._find, owner).one()
        if found.create_time_us >= to_us(acceptance.create_time) - self._window_us:
            return found
        connection.execute(self._expire, {"key": found.run_key})
        connection.execute(self._insert, row)
        return connection.execute(self._find, owner).one()

    def _known(self, connection: Connection, acceptance: Acceptance, found: Any) -> RunRecord | Failure:
        key = _key(acceptance)
        another_session = not acceptance.session_is_new and acceptance.session != found.session
        if bytes(found.request_digest) != key.request_digest or another_session:
            return IdempotencyKeyReused(
                "the Idempotency-Key was used for another request; use a new key for each request",
                metadata={"run": found.run},
            )
        record = self._records.get(connection, found.run)
        assert record is not None  # noqa: S101 - this transaction has just read it
        return record


def _key(acceptance: Acceptance) -> Idempotency:
    assert acceptance.idempotency is not None  # noqa: S101 - only those are claimed
    return acceptance.idempotency


def _order(acceptance: Acceptance) -> tuple[str, str, str]:
    key = _key(acceptance)
    return key.principal, acceptance.user, key.key
