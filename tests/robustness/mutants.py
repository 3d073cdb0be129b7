"""A service that acknowledges before it commits, to see that the checker finds out.

Run as `python -m tests.robustness.mutants ARGS…`, in place of `penstock ARGS…`.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from penstock.cli import main
from penstock_server.store.sql.turns.groupcommit import GroupCommit, Pending

COMMIT_DELAY_S = 0.05
"""How long a commit is behind its acknowledgement."""


async def _write_acknowledging_early(self: GroupCommit[Any, Any], group: Sequence[Pending[Any, Any]]) -> None:
    """`GroupCommit._write`, with the acknowledgement before the commit."""
    loop = asyncio.get_running_loop()

    def work(connection: Any) -> None:
        outcomes = self._group(connection, [each.write for each in group], False)
        for each, outcome in zip(group, outcomes, strict=True):
            loop.call_soon_threadsafe(each.over, outcome)
        time.sleep(COMMIT_DELAY_S)

    await self._database.write(work)


if __name__ == "__main__":
    GroupCommit._write = _write_acknowledging_early  # type: ignore[method-assign]
    main()
