"""The checker finds each kind of damage. Whole servers that break their promises are in test_mutants.py."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.robustness.runs.checker import kinds, violations
from tests.robustness.runs.effects import ENDED, STARTED, TOLD, Effect
from tests.robustness.runs.found import Found, Kept
from tests.robustness.runs.history import (
    DELTA,
    FINISHED,
    FROZEN,
    KILLED,
    STORE,
    Cancel,
    Event,
    Fault,
    History,
    Reader,
    Request,
)

PROCESS = 7
TOKENS = ("a ", "b ", "c ")


def event(sequence: int, **more: Any) -> Event:
    """The event of this number of a run that tells `TOKENS` and succeeds; number n happens at second n."""
    if sequence == 1:
        entry = Event(sequence=1, kind="run_started", content=b"1", at_s=1.0)
    elif sequence < 5:
        entry = Event(sequence=sequence, kind=DELTA, content=b"%d" % sequence, at_s=sequence, text=TOKENS[sequence - 2])
    else:
        entry = Event(sequence=sequence, kind=FINISHED, content=b"end", at_s=sequence, status="SUCCEEDED")
    return replace(entry, **more)


def effects(run: str = "r", question: str = "q", begin_s: float = 1.0, rounds: int = 0) -> list[Effect]:
    """What the flow of such a run does."""

    def step(number: int, what: str, text: str = "") -> Effect:
        at_s = begin_s + number
        return Effect(at_s=at_s, process=PROCESS, run=run, session="s", question=question, what=what, text=text)

    told = [step(number, TOLD, token) for number, token in enumerate(TOKENS, 1)]
    return [step(0, STARTED, str(rounds)), *told, step(len(told), ENDED)]


@dataclass
class Story:
    """A run that was accepted, read by two, and has succeeded: nothing is wrong with it."""

    request: Request = field(default_factory=lambda: Request(question="q", key="k", run="r", status="SUCCEEDED"))
    reader: Reader = field(
        default_factory=lambda: Reader(name="reader", run="r", events=[event(number) for number in range(1, 6)])
    )
    late: Reader = field(
        default_factory=lambda: Reader(name="late", run="r", after=3, events=[event(4, at_s=9.0), event(5, at_s=9.0)])
    )
    kept: Kept = field(
        default_factory=lambda: Kept(
            run="r", status="SUCCEEDED", question="q", answer="a b c ", log=[event(n, at_s=0.0) for n in range(1, 6)]
        )
    )
    effects: list[Effect] = field(default_factory=effects)
    more: list[Kept] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    closed_s: dict[str, float] = field(default_factory=dict)

    def broken(self) -> list[str]:
        """What the checker says."""
        history = History(
            requests=[self.request, *self.requests],
            readers=[self.reader, self.late],
            cancels=self.cancels,
            faults=self.faults,
        )
        runs = {kept.run: kept for kept in (self.kept, *self.more)}
        return violations(history, Found(runs=runs, effects=self.effects, closed_s=self.closed_s))


def interrupted(story: Story, *, stored: int, told: int, died_s: float) -> None:
    """The owner dies. The store has events up to `stored`, and one reader was told those up to `told`."""
    end = event(100, status="INTERRUPTED", lost_after=stored)
    story.request.status = ""
    story.kept = replace(
        story.kept,
        status="INTERRUPTED",
        answer="".join(TOKENS[: stored - 1]),
        log=[*(event(number, at_s=0.0) for number in range(1, stored + 1)), end],
    )
    story.reader.events = [*(event(number) for number in range(1, told + 1)), end]
    story.late.after, story.late.events = stored, [end]
    story.faults.append(Fault(kind=KILLED, process=PROCESS, began_s=died_s))


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert Story().broken() == []


def test_what_an_owner_had_just_said_may_die_with_it() -> None:
    story = Story()
    interrupted(story, stored=3, told=4, died_s=4.1)
    assert story.broken() == []


def test_a_reader_may_leave_and_one_that_has_all_of_it_is_told_the_end_again() -> None:
    story = Story()
    story.reader.events, story.reader.left = story.reader.events[:2], True
    story.late.after, story.late.events = 5, [event(5)]
    assert story.broken() == []


def test_a_simple_reader_gets_the_deltas_and_the_end() -> None:
    story = Story()
    story.reader.simple, story.reader.events = True, [event(number) for number in (2, 3, 4, 5)]
    assert story.broken() == []
    story.reader.events = [event(number) for number in (2, 4, 5)]
    assert kinds(story.broken()) == {"events"}


def no_end(story: Story) -> None:
    story.late.events.pop()


def two_ends(story: Story) -> None:
    story.late.events.append(event(6))


def another_end(story: Story) -> None:
    story.reader.events[-1] = event(5, status="FAILED")


def another_answer(story: Story) -> None:
    story.request.answer = "else"


def gone(story: Story) -> None:
    story.requests.append(Request(question="other", run="s"))


def live(story: Story) -> None:
    story.kept = replace(story.kept, status="RUNNING")


def gap(story: Story) -> None:
    del story.reader.events[2]


def twice(story: Story) -> None:
    story.late.events.insert(0, event(4))


def one_more(story: Story) -> None:
    story.late.events.insert(0, event(3))


def two_meanings(story: Story) -> None:
    story.late.events[0] = event(4, content=b"else")


def untold_gap(story: Story) -> None:
    interrupted(story, stored=3, told=3, died_s=3.1)
    story.reader.events[-1] = replace(story.reader.events[-1], lost_after=None)


def lost_though_the_owner_lived(story: Story) -> None:
    interrupted(story, stored=3, told=4, died_s=4.1)
    story.faults.clear()


def second_execution(story: Story) -> None:
    story.effects += effects(begin_s=20.0)


def second_run(story: Story) -> None:
    story.more.append(replace(story.kept, run="s"))


def refused_and_executed(story: Story) -> None:
    story.requests.append(Request(question="no", refused=True, error="SESSION_BUSY"))
    story.effects += effects(run="s", question="no")


def kept_too_little(story: Story) -> None:
    story.kept = replace(story.kept, answer="a b ")


def kept_what_nobody_said(story: Story) -> None:
    story.effects = [replace(each, text="z ") if each.what == TOLD else each for each in story.effects]


def another_message(story: Story) -> None:
    story.kept = replace(story.kept, message="else")


def lost_long_before_the_death(story: Story) -> None:
    interrupted(story, stored=2, told=4, died_s=9.0)


def went_on(story: Story) -> None:
    story.cancels.append(Cancel(run="r", asked_s=2.0, returned_s=3.5, status="SUCCEEDED"))


def cancelled_and_live(story: Story) -> None:
    story.cancels.append(Cancel(run="r", asked_s=20.0, returned_s=21.0, status="RUNNING"))


def connection_left_open(story: Story) -> None:
    story.cancels.append(Cancel(run="r", asked_s=20.0, returned_s=21.0, status="SUCCEEDED"))
    story.closed_s["r"] = 30.0


def out_of_turn(story: Story) -> None:
    story.kept = replace(story.kept, turn=2, session="s")
    story.more.append(replace(story.kept, run="first", question="first", turn=1))
    story.effects += effects("first", "first", begin_s=2.0)


def told_too_few_rounds(story: Story) -> None:
    story.kept = replace(story.kept, turn=2, session="s")
    story.more.append(replace(story.kept, run="first", question="first", turn=1))
    story.effects += effects("first", "first", begin_s=-20.0)


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        *((damage, "end") for damage in (no_end, two_ends, another_end, another_answer, gone, live)),
        *(
            (damage, "events")
            for damage in (gap, twice, one_more, two_meanings, untold_gap, lost_though_the_owner_lived)
        ),
        *((damage, "execution") for damage in (second_execution, second_run, refused_and_executed)),
        *((damage, "kept") for damage in (kept_too_little, kept_what_nobody_said, another_message)),
        (lost_long_before_the_death, "kept"),
        *((damage, "cancel") for damage in (went_on, cancelled_and_live, connection_left_open)),
        *((damage, "turns") for damage in (out_of_turn, told_too_few_rounds)),
    ],
)
def test_damage_is_found(damage: Callable[[Story], None], kind: str) -> None:
    story = Story()
    damage(story)
    assert kind in kinds(story.broken())


def test_a_store_that_was_away_excuses_what_it_did_not_get() -> None:
    story = Story()
    lost_long_before_the_death(story)
    story.faults.append(Fault(kind=STORE, began_s=2.0, ended_s=10.0))
    assert story.broken() == []


def test_a_machine_that_stood_still_may_go_on_for_a_moment() -> None:
    story = Story()
    went_on(story)
    story.faults.append(Fault(kind=FROZEN, process=PROCESS, began_s=2.5, ended_s=9.0))
    assert story.broken() == []
