"""Bounds the share of time in which the garbage collector stops everything.

A full collection looks at all that lives, while nothing else goes on: with thousands of open streams, for half a
second. CPython makes one whenever what lives has grown by a quarter, which a busy server may do several times a second.
"""

import gc
import time
from typing import Any

WORK_PER_PAUSE = 200
"""After a full collection, how many times as long as it took there is none: half a percent of the time is lost."""
NEVER = 1 << 30
"""A threshold that is not reached."""


class ShortPauses:
    """Puts off full collections that would come too soon. Young objects are collected as ever."""

    def __init__(self) -> None:
        self._thresholds = gc.get_threshold()
        self._began_s = 0.0
        self._next_s = 0.0
        gc.callbacks.append(self._collected)

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        """See `gc.callbacks`: called before and after each collection."""
        now_s = time.monotonic()
        if phase == "start":
            self._began_s = now_s
        elif info["generation"] == len(self._thresholds) - 1:
            self._next_s = now_s + WORK_PER_PAUSE * (now_s - self._began_s)
            gc.set_threshold(*self._thresholds[:-1], NEVER)
        elif now_s >= self._next_s:
            gc.set_threshold(*self._thresholds)
