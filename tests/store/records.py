"""Runs as the tests of the store accept and end them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from penstock_server.errors import Failure
from penstock_server.ids import new_id
from penstock_server.runs.events import Event, OutputDelta, RunStatus
from penstock_server.store.records import Acceptance, Accepted, Appending, Ending, Idempotency, Question, Start
from penstock_server.store.store import Store


def acceptance(
    text: str = "hello",
    *,
    session: str = "",
    user: str = "",
    key: str = "",
    digest: bytes = b"d" * 32,
    chat: bool = True,
    rounds: int = 10,
    inputs: Mapping[str, object] | None = None,
    **more: Any,
) -> Acceptance:
    """A run that is to be accepted; without a session, in a new one."""
    content = {"question": text} | dict(inputs or {})
    return Acceptance(
        **{
            "run": new_id(),
            "flow": "chat",
            "snapshot": "1",
            "session": session or new_id(),
            "session_is_new": not session,
            "user": user,
            "create_time": datetime.now(UTC),
            "session_queue_max": 1000,
            "inputs": content,
            "question": Question(content=content, text_of="question", history_rounds_max=rounds) if chat else None,
            "idempotency": Idempotency(key=key, principal="p", request_digest=digest) if key else None,
        }
        | more
    )


def ending(
    asked: Acceptance,
    accepted: Accepted,
    answer: str = "hi",
    *,
    status: RunStatus = RunStatus.SUCCEEDED,
    error: Failure | None = None,
    **more: Any,
) -> Ending:
    """The end of a run."""
    return Ending(
        **{
            "run": asked.run,
            "session": asked.session,
            "accepted": accepted,
            "status": status,
            "outputs": {"answer": answer},
            "text_of": "answer" if accepted.turn else "",
            "flow": asked.flow,
            "user": asked.user,
            "error": error,
            "nodes": (),
            "input_tokens": 3,
            "output_tokens": 5,
            "start_time": asked.create_time,
            "end_time": datetime.now(UTC),
            "last_sequence": 1,
        }
        | more
    )


async def accept(store: Store, asked: Acceptance) -> Accepted:
    """Accepts a run that is new."""
    accepted = await store.turns.accept(asked)
    assert isinstance(accepted, Accepted)
    return accepted


async def take_turn(store: Store, text: str, answer: str = "hi", **more: Any) -> Acceptance:
    """A whole turn."""
    asked = acceptance(text, **more)
    await store.turns.finish(ending(asked, await accept(store, asked), answer))
    return asked


def deltas(first: int, last: int) -> list[OutputDelta]:
    """The events of these numbers."""
    return [OutputDelta({"answer": f"{number} "}, number) for number in range(first, last + 1)]


async def append(store: Store, accepted: Accepted, events: Sequence[Event], *, reserved: int = 0) -> bool:
    """Adds to a run's log."""
    return await store.turns.append(Appending(accepted=accepted, events=events, sequence_reserved=reserved))


async def start(store: Store, accepted: Accepted, *, rounds: int = 10) -> Accepted | None:
    """Lets a queued run begin."""
    return await store.turns.start(Start(accepted=accepted, history_rounds_max=rounds, start_time=datetime.now(UTC)))
