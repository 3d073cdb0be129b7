"""Places where a test has this process hurt itself: before and after each commit.

`PENSTOCK_FAILPOINTS` says where, what, and at the how manieth time, with spaces between several:

    ending.committed=kill@3 appending.committing=pause:2.5 beat.committing=error

Places are `<write>.committing` and `<write>.committed`, where the write is the name of its record in lower case
(`acceptance`, `start`, `appending`, `ending`, `withdrawal`), or `beat` or `adoption`. Each acts once: `kill` ends the
process as a crash would, `pause` has it stand still for some seconds, `error` has the commit fail as one that the
database did not answer. Without the variable, nothing is done at all.
"""

import os
import signal
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from penstock_server.errors import StoreUnavailable

VARIABLE = "PENSTOCK_FAILPOINTS"

T = TypeVar("T")


def around(commit: Coroutine[Any, Any, T], writes: Iterable[object]) -> Coroutine[Any, Any, T]:
    """The commit of these writes, with a failpoint before and after it for each kind of them.

    Args:
        writes: records; or texts, which are the names of writes that have none.
    """
    return _around(commit, writes) if _armed else commit


@dataclass(slots=True)
class _Failpoint:
    action: str
    value: float
    times_left: int
    """How often it has to be reached until it acts."""

    def reached(self) -> None:
        self.times_left -= 1
        if self.times_left:
            return
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "pause":
            time.sleep(self.value)  # the whole process, as if it were not scheduled
        else:
            raise StoreUnavailable(f"a failpoint of {VARIABLE} was reached")


async def _around(commit: Coroutine[Any, Any, T], writes: Iterable[object]) -> T:
    names = {each if isinstance(each, str) else type(each).__name__.lower() for each in writes}
    try:
        _reach(names, "committing")
    except BaseException:
        commit.close()  # it is not to be done at all
        raise
    result = await commit
    _reach(names, "committed")
    return result


def _reach(names: set[str], moment: str) -> None:
    for name in sorted(names):
        if (failpoint := _armed.get(f"{name}.{moment}")) is not None:
            failpoint.reached()


def _read(text: str) -> dict[str, _Failpoint]:
    armed: dict[str, _Failpoint] = {}
    for each in text.split():
        place, _, rest = each.partition("=")
        doing, _, times = rest.partition("@")
        action, _, value = doing.partition(":")
        if action not in ("kill", "pause", "error"):
            raise ValueError(f"{VARIABLE}: {each!r} is not PLACE=kill, PLACE=pause:SECONDS or PLACE=error, with @TIMES")
        armed[place] = _Failpoint(action, float(value or 0), int(times or 1))
    return armed


_armed = _read(os.environ.get(VARIABLE, ""))
