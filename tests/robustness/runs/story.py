"""All that is known of a run, in the order of time: for those who look for what has broken a promise."""

import re
from collections.abc import Iterator, Sequence
from math import inf

from tests.robustness.runs.found import Found
from tests.robustness.runs.history import History

LINES_MAX = 150
RUN = re.compile(r"\b[0-9a-f]{32}\b")


def story(history: History, found: Found, broken: str) -> str:
    """What happened to the run that a sentence names, and around it."""
    names = RUN.findall(broken)
    if not names:
        return ""
    questions = {each.question for each in history.requests if each.run in names}
    lines = sorted(_lines(history, found, names, questions))[-LINES_MAX:]
    begin = lines[0][0] if lines else 0.0
    return "\n".join(f"  {at_s - begin:8.3f} s  {what}" for at_s, what in lines if at_s != inf)


def _lines(history: History, found: Found, runs: Sequence[str], questions: set[str]) -> Iterator[tuple[float, str]]:
    for request in history.requests:
        if request.question in questions:
            yield request.sent_s, f"sent: {request}"
            if request.accepted_s != inf:
                yield request.accepted_s, f"accepted: {request.question} as {request.run}"
    for reader in history.readers:
        if reader.run in runs:
            for event in reader.events:
                yield (
                    event.at_s,
                    f"{reader.name} ({id(reader):x}): {event.sequence} {event.kind} {event.text}{event.status}",
                )
    for cancel in history.cancels:
        if cancel.run in runs:
            yield cancel.asked_s, f"cancel asked of {cancel.run}"
            yield cancel.returned_s, f"cancel returned {cancel.status}{cancel.error}"
    for effect in found.effects:
        if effect.question in questions or effect.run in runs:
            yield effect.at_s, f"process {effect.process} {effect.what} {effect.text} of {effect.run}"
    for fault in history.faults:
        yield fault.began_s, f"{fault.kind} {fault.process or ''}"
        yield fault.ended_s, f"{fault.kind} no more {fault.process or ''}"
    for name in runs:
        if (kept := found.runs.get(name)) is not None:
            yield inf, ""
            yield 1e12, f"{kept.status} {kept.answer!r}; log {[event.sequence for event in kept.log]}, {kept.log[-1:]}"
