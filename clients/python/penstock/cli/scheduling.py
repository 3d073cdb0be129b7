"""How the system schedules gRPC's own thread beside the event loop."""

import os
import sys
from contextlib import suppress

import grpc


def calm_poller() -> None:
    """Starts the thread with which `grpc.aio` waits for its sockets, as one that interrupts nothing when it wakes.

    It wakes for every event of a call. Where it shares a core with the event loop, it would take the core away each
    time and give it back a moment later. As it is, the loop finishes what it has begun, and then the thread has several
    events at once (docs/performance.md). Only where another program keeps that very core busy do events wait longer for
    it, a few milliseconds at most.

    Does nothing where the system has no such policy or does not allow it, or where this process was given one already.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    default = os.sched_param(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, default)  # a thread has the policy of the one that starts it
        try:
            grpc.aio.init_grpc_aio()
        finally:
            os.sched_setscheduler(0, os.SCHED_OTHER, default)
