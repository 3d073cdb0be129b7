"""A run's events, told across connections that break."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from penstock.errors import PenstockError
from penstock.status import Code
from penstock.v1 import run_pb2

RESUME_S = 30.0
"""How long a cut connection is tried again: as long as a service waits, unless it is told otherwise, for a caller that
left (`disconnect_grace_s`)."""
PAUSE_MIN_S = 0.1
PAUSE_MAX_S = 2.0
RUN_ID = "penstock-run-id"

Call = Any  # what a stub's streaming method returns


class Following:
    """Follows one run to its end.

    Args:
        call: the stream that tells the run first.
        resume: begins a stream that tells the run of this id from behind the event of this number.
        run: the run's id, where it is known already.
        after: the number of the last event that the caller has.
    """

    def __init__(self, call: Call, resume: Callable[[str, int], Call], *, run: str = "", after: int = 0) -> None:
        self._call = call
        self._resume = resume
        self._run = run
        self._after = after
        self._end: run_pb2.RunFinished | None = None
        self._cut: PenstockError | None = None
        self._cut_s = 0.0
        self._pause_s = PAUSE_MIN_S

    def events(self) -> Iterator[run_pb2.RunEvent]:
        """Yields the run's events, each once and in order.

        Raises:
            PenstockError: the run did not succeed, was not accepted, or cannot be followed any more.
        """
        try:
            while True:
                try:
                    yield from self._told()
                    break
                except grpc.RpcError as error:
                    if self._end is not None:
                        break  # the run's error, or a cut behind all that there was to tell
                    self._connect_again(PenstockError.of_rpc(error))
        finally:
            self._call.cancel()
        if self._end is not None and self._end.status != run_pb2.Run.SUCCEEDED:
            raise PenstockError.of_status(self._end.error)

    def _told(self) -> Iterator[run_pb2.RunEvent]:
        for response in self._call:
            self._cut, self._pause_s = None, PAUSE_MIN_S
            for event in response.events:
                self._after = event.sequence
                if event.HasField("run_finished"):
                    self._end = event.run_finished
                yield event

    def _connect_again(self, failure: PenstockError) -> None:
        """Goes on with another stream. Raises the failure where it says more than that the connection was cut."""
        self._run = self._run or dict(self._call.initial_metadata() or ()).get(RUN_ID, "")
        if self._cut is not None and failure.code is Code.NOT_FOUND:
            raise self._cut  # the run was not stored, so there is nothing to go on with
        if not self._run or failure.code is not Code.UNAVAILABLE:
            raise failure
        if self._cut is None:
            self._cut, self._cut_s = failure, time.monotonic()
        elif time.monotonic() - self._cut_s > RESUME_S:
            raise failure
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
        self._call = self._resume(self._run, self._after)
