"""What flows did, as the lines say that they left (`flows.py`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EFFECTS_FILE = "EFFECTS_FILE"
"""The environment's name for the file in which flows leave lines."""
UPSTREAM_PORT = "UPSTREAM_PORT"
"""The environment's name for the port of what flows call (`upstream.py`)."""

STARTED, TOLD, ENDED = "started", "told", "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One step of an execution."""

    at_s: float
    """By the machine's monotonic clock, which all its processes share."""
    process: int
    run: str
    session: str
    question: str
    """What the caller asked: no two requests ask the same."""
    what: str
    text: str = ""
    """The token that is told; of a start, how many rounds the flow was told of."""


def read(path: Path) -> Iterator[Effect]:
    """The lines of a file, in the order in which they were written."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        at_ns, process, run, session, question, what, text = line.split("\t")
        yield Effect(
            at_s=int(at_ns) / 1e9,
            process=int(process),
            run=run,
            session=session,
            question=question,
            what=what,
            text=text,
        )
