"""A service that acknowledges before it commits, to see that the checker finds out.

Run as `python -m tests.robustness.mutants ARGS…`, in place of `penstock ARGS…`.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from penstock.cli import main
from penstock_server.store.sql.turns.groupcommit import GroupCommit, Pending

COMMIT_DELAY_S = 0.05
"""How long a commit is behind its acknowledgement."""


def acknowledging_early(
    delay_s: float,
) -> Callable[[GroupCommit[Any, Any], Sequence[Pending[Any, Any]], Any], Coroutine[Any, Any, None]]:
    """`GroupCommit._commit`, with the commit `delay_s` behind its acknowledgement."""

    async def commit(self: GroupCommit[Any, Any], group: Sequence[Pending[Any, Any]], _: Any) -> None:
        loop = asyncio.get_running_loop()

        def work(connection: Any) -> None:
            outcomes = self._group(connection, [each.write for each in group], False)
            for each, outcome in zip(group, outcomes, strict=True):
                loop.call_soon_threadsafe(each.over, outcome)
            time.sleep(delay_s)

        await self._database.write(work)

    return commit


if __name__ == "__main__":
    GroupCommit._commit = acknowledging_early(COMMIT_DELAY_S)  # type: ignore[assignment]
    main()
