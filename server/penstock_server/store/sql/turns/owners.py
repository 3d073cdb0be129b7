"""Whose a session is: the user's of its first run, whatever its flow, and whether or not that run has added a turn."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, bindparam, select

from penstock_server.store.records import Acceptance
from penstock_server.store.sql.schema import Tables
from penstock_server.store.sql.turns.sessionlocks import Locked


class Owners:
    """Finds the owners of sessions that have no row: only turns make one.

    Of two first runs that are accepted at the same time on two instances, each may find itself the first.
    """

    def __init__(self, tables: Tables) -> None:
        runs = tables.runs.c
        first = select(runs.user).where(runs.session == bindparam("of_session"))
        self._first_user = first.order_by(runs.run_key).limit(1)

    def find(
        self, connection: Connection, acceptances: Collection[Acceptance], sessions: Mapping[str, Locked]
    ) -> Mapping[str, str]:
        """The owners of these sessions, and of those that the acceptances name, some of which they make their users'.

        Args:
            sessions: those that have rows.
        """
        owners = {name: session.user for name, session in sessions.items()}
        for each in acceptances:
            if each.session not in owners and not each.session_is_new:
                first = connection.scalar(self._first_user, {"of_session": each.session})
                if first is not None:
                    owners[each.session] = first
            if each.stored:
                owners.setdefault(each.session, each.user)
        return owners
