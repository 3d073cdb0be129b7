"""Compares what callers saw with what the service tells afterwards and with what its flows did (PROMISES.md).

Each function looks after one promise, and yields a sentence for each time that it was broken.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.robustness.runs.effects import ENDED, STARTED, TOLD, Effect
from tests.robustness.runs.found import Found, Kept
from tests.robustness.runs.history import (
    DELTA,
    FINISHED,
    FROZEN,
    KILLED,
    STORE,
    SUCCEEDED,
    TERMINAL,
    Event,
    Fault,
    History,
    Reader,
)
from tests.robustness.runs.story import story

FLUSHED_S = 0.2
"""How far what is stored may be behind what was told. The promise."""
FLUSHED_MARGIN_S = 0.6
"""What a machine that runs other tests at the same time may add to it."""
CLOSED_MARGIN_S = 0.5
"""How late this process, which runs the traffic, may notice that a connection was closed."""
ROUNDS_MAX = 10
"""`history_rounds_max`."""
SHOWN_MAX = 12


def check(history: History, found: Found) -> None:
    """Fails unless every promise was kept."""
    broken = violations(history, found)
    shown = "\n".join(broken[:SHOWN_MAX])
    assert not broken, (
        f"{len(broken)} promises broken in {len(found.runs)} runs:\n{shown}\n{story(history, found, broken[0])}"
    )


def violations(history: History, found: Found) -> list[str]:
    """Every promise that was broken, as a sentence that begins with its kind; none where all were kept."""
    works = _works(found)
    return [
        *_one_end(history, found),
        *_events(history, found, works),
        *_executions(history, found),
        *_kept(history, found, works),
        *_cancels(history, found, works),
        *_turns(history, found, works),
    ]


def kinds(broken: Sequence[str]) -> set[str]:
    """The kinds of promises that were broken."""
    return {sentence.partition(":")[0] for sentence in broken}


Works = dict[str, list[Effect]]
"""What was done for each run, in order."""


def _works(found: Found) -> Works:
    works: Works = defaultdict(list)
    for effect in found.effects:
        works[effect.run].append(effect)
    return works


def _one_end(history: History, found: Found) -> Iterator[str]:
    """An accepted run is there, has ended once, and everybody was told the same end, once."""
    yield from (f"end: run {run} was accepted and is gone" for run in sorted(history.runs - set(found.runs)))
    yield from (f"end: run {kept.run} is {kept.status}" for kept in found.runs.values() if kept.status not in TERMINAL)
    for kept in found.runs.values():
        if not kept.log or kept.log[-1].status != kept.status:
            yield f"end: run {kept.run} is {kept.status}, and its log ends with {kept.log[-1:]}"
    for reader in history.readers:
        yield from _told_once(reader, found.runs.get(reader.run))
    told = [(each.run, each.status) for each in history.requests] + [
        (each.run, each.status) for each in history.cancels
    ]
    for run, status in told:
        if status and run in found.runs and status != found.runs[run].status:
            yield f"end: a call was answered {status}, and run {run} is {found.runs[run].status}"
    for request in history.requests:
        if (
            request.answer is not None
            and request.run in found.runs
            and request.answer != found.runs[request.run].answer
        ):
            yield f"end: a call was answered {request.answer!r}, and it is run {found.runs[request.run]}"


def _told_once(reader: Reader, kept: Kept | None) -> Iterator[str]:
    yield from (f"end: {reader.name} of {reader.run}: {problem}" for problem in reader.problems)
    ends = [event for event in reader.events if event.kind == FINISHED]
    if len(ends) > 1 or (ends and reader.events[-1].kind != FINISHED):
        yield f"end: {reader.name} of {reader.run} was told {len(ends)} ends, or more after one"
    if not ends and not reader.left:
        yield f"end: {reader.name} of {reader.run} was never told the end"
    if ends and kept is not None and ends[0].status != kept.status:
        yield f"end: {reader.name} of {kept.run} was told {ends[0].status}, and it is {kept.status}"


def _events(history: History, found: Found, works: Works) -> Iterator[str]:
    """Numbers without gaps, none twice, each for one thing; only the death of an owner excuses, and it is told."""
    seen: dict[tuple[str, int], bytes] = {}
    logs = [Reader(name="the log", run=kept.run, events=list(kept.log)) for kept in found.runs.values()]
    for reader in (*logs, *history.readers):
        numbers = [event.sequence for event in reader.events]
        if numbers == [reader.after] and reader.events[0].kind == FINISHED:
            continue  # who has all of it is told the end once more
        if any(number <= before for before, number in pairwise([reader.after, *numbers])):
            yield f"events: {reader.name} of {reader.run} repeats: {numbers} after {reader.after}"
        elif not reader.simple:
            yield from _unexcused(reader)
        for event in reader.events:
            if seen.setdefault((reader.run, event.sequence), event.content) != event.content:
                yield f"events: {event.sequence} of run {reader.run} means two things; {reader.name} has {event}"
    for reader in history.readers:
        if reader.simple and (kept := found.runs.get(reader.run)):
            yield from _left_out(reader, kept)
    for kept in found.runs.values():
        lost = kept.log[-1].lost_after if kept.log else None
        process = _process(works[kept.run])
        if lost is not None and process and _death(history.faults, process) is None:
            yield f"events: those after {lost} of run {kept.run} are lost, and its owner never died"


def _unexcused(reader: Reader) -> Iterator[str]:
    """Gaps but the one that is told."""
    for before, event in reader.gaps:
        if event.kind != FINISHED or event.lost_after is None or before < event.lost_after:
            yield f"events: {reader.name} of {reader.run} has a gap: after {before} came {event}"


def _left_out(reader: Reader, kept: Kept) -> Iterator[str]:
    """A simple reader gets every delta and no other entry."""
    until = reader.position
    wanted = {event.sequence for event in kept.log if event.kind == DELTA and reader.after < event.sequence <= until}
    missing = wanted - {event.sequence for event in reader.events}
    if missing:
        yield f"events: {reader.name} of {kept.run} was not told {sorted(missing)}"
    if others := {event.kind for event in reader.events} - {DELTA, FINISHED}:
        yield f"events: {reader.name} of {kept.run} asked for deltas and got {others}"


def _executions(history: History, found: Found) -> Iterator[str]:
    """What is asked once, however often it is sent, is one run and one execution; what was refused is nothing."""
    runs: dict[str, set[str]] = defaultdict(set)
    for kept in found.runs.values():
        runs[kept.question].add(kept.run)
    refused: dict[str, bool] = {}
    for request in history.requests:
        refused[request.question] = refused.get(request.question, True) and request.refused
        if request.run:
            runs[request.question].add(request.run)
    yield from (f"execution: {asked!r} became the runs {sorted(its)}" for asked, its in runs.items() if len(its) > 1)
    begun: dict[str, int] = defaultdict(int)
    for effect in found.effects:
        begun[effect.question] += effect.what == STARTED
    yield from (f"execution: {asked!r} was executed {count} times" for asked, count in begun.items() if count > 1)
    for asked, was_refused in refused.items():
        if was_refused and (begun[asked] or runs[asked]):
            yield f"execution: {asked!r} was refused, and is {sorted(runs[asked])}, executed {begun[asked]} times"


def _kept(history: History, found: Found, works: Works) -> Iterator[str]:
    """What was said is kept, but for what an owner that died had said just before."""
    for kept in found.runs.values():
        said = "".join(effect.text for effect in works[kept.run] if effect.what == TOLD)
        logged = "".join(event.text for event in kept.log if event.kind == DELTA)
        if kept.log and kept.answer != logged:
            yield f"kept: run {kept.run} has {kept.answer!r} in its record and {logged!r} in its log"
        if kept.message is not None and kept.message != kept.answer:
            yield f"kept: the message of run {kept.run} is {kept.message!r}, its answer {kept.answer!r}"
        if not said.startswith(kept.answer):
            yield f"kept: run {kept.run} has {kept.answer!r}, and its flow said {said!r}"
        if kept.status == SUCCEEDED and (kept.answer != said or not any(e.what == ENDED for e in works[kept.run])):
            yield f"kept: run {kept.run} succeeded with {kept.answer!r}, and its flow said {said!r}"
    for reader in history.readers:
        if kept_run := found.runs.get(reader.run):
            yield from _lost(reader, kept_run, history.faults, _process(works[reader.run]))


def _lost(reader: Reader, kept: Kept, faults: Sequence[Fault], process: int) -> Iterator[str]:
    stored = {event.sequence for event in kept.log}
    death = _death(faults, process)
    for event in reader.events:
        if event.sequence in stored or not kept.log or event.at_s == 0:
            continue
        if death is None:
            yield f"kept: {reader.name} of {kept.run} saw {event}, which is not kept though the owner lived"
        elif event.at_s < death - FLUSHED_S - FLUSHED_MARGIN_S and not _store_was_out(faults, event, death):
            yield f"kept: {reader.name} of {kept.run} saw {event} {death - event.at_s:.3f} s before its owner died"


def _cancels(history: History, found: Found, works: Works) -> Iterator[str]:
    """When CancelRun has returned, the run has ended, nothing is done for it, and its flow's connections are closed."""
    for cancel in history.cancels:
        if not cancel.status:
            continue
        if cancel.status not in TERMINAL:
            yield f"cancel: CancelRun returned, and run {cancel.run} is {cancel.status}"
        its = works[cancel.run]
        process = _process(its)
        if any(fault.kind == FROZEN and fault.process == process for fault in history.faults):
            continue  # a machine that stands still does not notice that it was taken for dead
        late = [effect for effect in its if effect.at_s > cancel.returned_s]
        if late:
            yield f"cancel: run {cancel.run} went on {late[-1].at_s - cancel.returned_s:.3f} s after CancelRun returned"
        if found.closed_s.get(cancel.run, 0) > cancel.returned_s + CLOSED_MARGIN_S:
            yield f"cancel: the connection of run {cancel.run} was open after CancelRun had returned"


def _turns(history: History, found: Found, works: Works) -> Iterator[str]:
    """Runs of a session execute one after the other, and each is told of all that was said before it."""
    sessions: dict[str, list[Kept]] = defaultdict(list)
    for kept in found.runs.values():
        if kept.turn:
            sessions[kept.session].append(kept)
    frozen = {fault.process for fault in history.faults if fault.kind == FROZEN}
    for runs in sessions.values():
        runs.sort(key=lambda kept: kept.turn)
        earlier: Kept | None = None
        rounds = 0
        for kept in runs:
            its = works[kept.run]
            if its:
                if int(its[0].text) != min(rounds, ROUNDS_MAX):
                    yield f"turns: run {kept.run} was told of {its[0].text} rounds, and there were {rounds}"
                before = works[earlier.run] if earlier else []
                if before and before[-1].at_s > its[0].at_s and before[-1].process not in frozen:
                    yield f"turns: run {kept.run} began before run {before[-1].run} of the same session had ended"
                earlier = kept
            rounds += kept.status == SUCCEEDED


def _process(effects: Sequence[Effect]) -> int:
    """Who executed a run; 0 where nobody has begun."""
    return effects[0].process if effects else 0


def _death(faults: Sequence[Fault], process: int) -> float | None:
    """When a process was killed, or first stood still."""
    ends = [fault.began_s for fault in faults if fault.process == process and fault.kind in (KILLED, FROZEN)]
    return min(ends, default=None)


def _store_was_out(faults: Sequence[Fault], event: Event, death: float) -> bool:
    return any(
        fault.kind == STORE and fault.began_s < death and fault.ended_s > event.at_s - FLUSHED_S for fault in faults
    )
