"""The checker finds each kind of damage. Whole services that break their promises are in test_mutants.py."""

from dataclasses import replace

import pytest
from tests.robustness.checker import ASSISTANT, SUCCEEDED, USER, Found, Line, violations
from tests.robustness.flows import ANSWER
from tests.robustness.ledger import Ledger, Turn

RUNNING, INTERRUPTED = 2, 6


def line(turn: int, role: int, status: int = SUCCEEDED) -> Line:
    """A message of the run of this number."""
    said = f"q{turn}" if role == USER else f"{ANSWER}q{turn}"
    return Line(turn=turn, role=role, text=said, run=f"r{turn}", status=0 if role == USER else status)


SESSION = tuple(line(turn, role) for turn in (1, 2, 3) for role in (USER, ASSISTANT))
OVERTAKEN = tuple(
    replace(each, turn=turn) for each, turn in zip((*SESSION[2:4], *SESSION[:2]), (1, 1, 2, 2), strict=True)
)


@pytest.fixture
def ledger() -> Ledger:
    """Three turns of one session, one after another, all acknowledged."""
    ledger = Ledger()
    for number in (1, 2, 3):
        turn = Turn(text=f"q{number}", session="s", user="")
        ledger.sent(turn)
        ledger.accepted(turn, f"r{number}")
        ledger.finished(turn, f"{ANSWER}q{number}")
    return ledger


def found(*lines: Line, executions: tuple[str, ...] = ("q1", "q2", "q3"), **more: int) -> Found:
    """A store with one session."""
    return Found(sessions={"s": lines}, counts={"s": len(lines)}, executions=executions, **more)


def test_nothing_is_wrong_with_what_is_right(ledger: Ledger) -> None:
    assert violations(ledger, found(*SESSION)) == []


def test_a_turn_that_was_never_acknowledged_may_be_there_or_not(ledger: Ledger) -> None:
    ledger.sent(Turn(text="q4", session="s", user=""))
    assert violations(ledger, found(*SESSION)) == []
    assert violations(ledger, found(*SESSION, line(4, USER), line(4, ASSISTANT, INTERRUPTED))) == []


def test_a_turn_that_was_refused_may_leave_its_number_behind(ledger: Ledger) -> None:
    later = (replace(SESSION[4], turn=4), replace(SESSION[5], turn=4))
    assert "holes" in "".join(violations(ledger, found(*SESSION[:4], *later)))
    refused = Turn(text="refused", session="s", user="")
    ledger.sent(refused)
    ledger.refused(refused)
    assert violations(ledger, found(*SESSION[:4], *later)) == []


@pytest.mark.parametrize(
    ("damage", "lines"),
    {
        "lost": SESSION[:4],
        "lost, the answer": SESSION[:5],
        "lost, marked as interrupted": (*SESSION[:5], line(3, ASSISTANT, INTERRUPTED)),
        "lost, other text": (*SESSION[:4], replace(SESSION[4], text="else"), SESSION[5]),
        "spoiled": (*SESSION[:5], replace(SESSION[5], text="else")),
        "doubled, the run": (*SESSION, replace(SESSION[4], turn=4), replace(SESSION[5], turn=4)),
        "doubled, the text": (*SESSION, replace(SESSION[4], turn=4, run="r4")),
        "doubled, the place": (*SESSION, SESSION[5]),
        "out of order": (*SESSION[2:4], *SESSION[:2], *SESSION[4:]),
        "holes": (*SESSION[:4], replace(SESSION[4], turn=5), replace(SESSION[5], turn=5)),
        "overtaken": (*OVERTAKEN, *SESSION[4:]),
    }.items(),
)  # fmt: skip
def test_damage_to_messages_is_found(ledger: Ledger, damage: str, lines: tuple[Line, ...]) -> None:
    kinds = {sentence.partition(":")[0] for sentence in violations(ledger, found(*lines))}
    assert damage.partition(",")[0] in kinds


def test_a_second_execution_is_found(ledger: Ledger) -> None:
    assert "executed 2 times" in "".join(violations(ledger, found(*SESSION, executions=("q1", "q2", "q3", "q2"))))


def test_an_answer_without_an_execution_is_found(ledger: Ledger) -> None:
    assert "never executed" in "".join(violations(ledger, found(*SESSION, executions=("q1", "q2"))))


def test_a_second_run_for_one_request_is_found(ledger: Ledger) -> None:
    ledger.accepted(ledger.turns[0], "another")
    assert "became the runs" in "".join(violations(ledger, found(*SESSION)))


def test_a_run_that_never_ended_is_found(ledger: Ledger) -> None:
    assert violations(ledger, found(*SESSION, live_runs=1)) == ["1 runs are still running"]


def test_a_wrong_count_is_found(ledger: Ledger) -> None:
    assert "miscounted" in "".join(violations(ledger, replace(found(*SESSION), counts={"s": 5})))
