"""Compares what a service acknowledged with what its store holds and its flow executed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.robustness.flows import ANSWER
from tests.robustness.ledger import Ledger, Turn

USER, ASSISTANT = 1, 2
SUCCEEDED = 3
SHOWN_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A message, as the service tells it."""

    turn: int
    role: int
    text: str
    run: str
    status: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """What there is after the faults."""

    sessions: Mapping[str, Sequence[Line]]
    """The messages of each session, in the service's order."""
    counts: Mapping[str, int]
    """How many messages each session says that it has."""
    executions: Sequence[str]
    """The question of each execution of the flow."""
    live_runs: int = 0
    """How many runs the store holds for running, with no call under way."""


def violations(ledger: Ledger, found: Found) -> list[str]:
    """Every promise that was broken, as a sentence; none where all were kept."""
    return [
        *_lost(ledger.turns, found),
        *_doubled(found),
        *_out_of_order(ledger.turns, found),
        *_miscounted(found),
        *_executed_twice(ledger.turns, found),
        *([f"{found.live_runs} runs are still running"] if found.live_runs else ()),
    ]


def check(ledger: Ledger, found: Found) -> None:
    """Fails unless every promise was kept."""
    broken = violations(ledger, found)
    shown = "\n".join(broken[:SHOWN_MAX])
    assert not broken, f"{len(broken)} promises broken after {len(ledger.turns)} turns:\n{shown}"


def _lost(turns: Iterable[Turn], found: Found) -> Iterator[str]:
    """An acknowledged turn has its question; an acknowledged answer is there, and beside its question."""
    lines = {(name, line.run, line.role): line for name, session in found.sessions.items() for line in session}
    for turn in turns:
        for run in turn.runs:
            question = lines.get((turn.session, run, USER))
            answer = lines.get((turn.session, run, ASSISTANT))
            if question is None or question.text != turn.text:
                yield f"lost: the accepted question {turn.text!r} of run {run}: {turn}"
            elif turn.finished and (answer is None or answer.status != SUCCEEDED or answer.turn != question.turn):
                yield f"lost: the answer to {turn.text!r} of run {run}: {turn}"
    for line in lines.values():
        if line.role == ASSISTANT and line.status == SUCCEEDED and not line.text.startswith(ANSWER):
            yield f"spoiled: the answer of run {line.run} is {line.text!r}"


def _doubled(found: Found) -> Iterator[str]:
    """No run, no text and no place in a session is there twice."""
    lines = [(name, line) for name, session in found.sessions.items() for line in session]
    for what, seen in (
        ("run and role", Counter((line.run, line.role) for _, line in lines)),
        ("text", Counter(line.text for _, line in lines if line.text)),
        ("session, turn and role", Counter((name, line.turn, line.role) for name, line in lines)),
    ):
        yield from (f"doubled: {times} messages of {what} {key}" for key, times in seen.items() if times > 1)


def _out_of_order(turns: Iterable[Turn], found: Found) -> Iterator[str]:
    """Turns are numbered from 1, and one that was sent after another's acknowledgement comes after it.

    A number is left out only where a try was refused, and so taken back.
    """
    by_session: dict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        by_session[turn.session].append(turn)
    for name, session in found.sessions.items():
        order = [(line.turn, line.role) for line in session]
        if order != sorted(order):
            yield f"out of order: session {name} lists {order}"
        numbers = {line.text: line.turn for line in session if line.role == USER}
        refused = sum(turn.refused for turn in by_session[name])
        if max(numbers.values(), default=0) > len(numbers) + refused:
            yield f"holes: session {name} has the turns {sorted(numbers.values())}"
        yield from _overtaken([turn for turn in by_session[name] if turn.accepted], numbers)


def _overtaken(turns: Iterable[Turn], numbers: Mapping[str, int]) -> Iterator[str]:
    placed = sorted((turn for turn in turns if turn.text in numbers), key=lambda turn: -numbers[turn.text])
    earliest: Turn | None = None  # of those that come later in the session, the one that was accepted first
    for turn in placed:
        if earliest is not None and earliest.accepted < turn.sent:
            yield f"overtaken: {turn.text!r} was sent after {earliest.text!r} was accepted, and comes before it"
        if earliest is None or turn.accepted < earliest.accepted:
            earliest = turn


def _miscounted(found: Found) -> Iterator[str]:
    for name, count in found.counts.items():
        if count != len(found.sessions[name]):
            yield f"miscounted: session {name} says {count} messages and has {len(found.sessions[name])}"


def _executed_twice(turns: Iterable[Turn], found: Found) -> Iterator[str]:
    """A turn is executed at most once however often it is sent, has one run, and is executed if it was answered."""
    executions = Counter(found.executions)
    for turn in turns:
        if len(turn.runs) > 1:
            yield f"repeated: {turn.text!r} became the runs {sorted(turn.runs)}"
        if executions[turn.text] > 1:
            yield f"repeated: {turn.text!r} was executed {executions[turn.text]} times"
        if turn.finished and not executions[turn.text]:
            yield f"made up: {turn.text!r} was answered and never executed"
