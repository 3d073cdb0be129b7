"""Entries of a log, as the wire has them, written down."""

import time
from collections.abc import Iterable

from tests.robustness.runs.history import DELTA, FINISHED, Event

from penstock.v1.run_pb2 import Run, RunEvent

OUTPUT = {"chat": "answer", "tell": "output"}
"""What each flow calls what it says."""


def seen(entries: Iterable[RunEvent]) -> Iterable[Event]:
    """What somebody sees now."""
    now = time.monotonic()
    return [_seen(entry, now) for entry in entries]


def said(run: Run) -> str:
    """What a run has said."""
    return str(dict(run.outputs).get(OUTPUT[run.flow], ""))


def _seen(entry: RunEvent, now: float) -> Event:
    kind = entry.WhichOneof("event") or ""
    text = status = ""
    lost_after: int | None = None
    if kind == DELTA:
        text = "".join(str(chunk) for chunk in dict(entry.output_delta.outputs).values())
    elif kind == FINISHED:
        status = Run.Status.Name(entry.run_finished.status)
        lost_after = entry.run_finished.lost_after if entry.run_finished.HasField("lost_after") else None
    content = entry.SerializeToString(deterministic=True)
    return Event(
        sequence=entry.sequence, kind=kind, content=content, at_s=now, text=text, status=status, lost_after=lost_after
    )
