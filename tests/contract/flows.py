"""The flows that the contract's cases call."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypedDict

from penstock.flow import InvalidInput, current_call

SLOW_S = 6.0
"""Long enough for another call meanwhile, short enough for the services to stop soon."""


async def echo(text: str) -> str:
    """Says it again."""
    return text


class Everything(TypedDict):
    """One output of every type."""

    text: str
    whole: int
    number: float
    flag: bool
    items: list[Any]
    nested: dict[str, Any]


async def types(
    text: str, whole: int, number: float, flag: bool, items: list[Any], nested: dict[str, Any]
) -> Everything:
    """Returns one input of every type."""
    return {"text": text, "whole": whole, "number": number, "flag": flag, "items": items, "nested": nested}


async def anything(value: Any = None) -> Any:
    """Returns whatever it gets."""
    return value


async def count(to: int = 3) -> AsyncIterator[str]:
    """Streams numbers."""
    for number in range(1, to + 1):
        yield f"{number} "


def count_in_a_thread(to: int = 3) -> Iterator[str]:
    """Streams numbers from blocking code."""
    for number in range(1, to + 1):
        time.sleep(0.001)
        yield f"{number} "


def chat(question: str, chat_history: list[Any]) -> str:
    """Answers a question."""
    return f"you asked: {question}"


def chat_raises(question: str, chat_history: list[Any]) -> str:
    """Answers no question."""
    raise ValueError(question)


async def chat_slow(question: str, chat_history: list[Any]) -> AsyncIterator[str]:
    """Begins an answer, and takes its time with the rest."""
    yield "well "
    await asyncio.sleep(SLOW_S)
    yield "yes"


async def who() -> dict[str, str]:
    """Tells what a flow knows of its call."""
    call = current_call.get()
    return {"flow": call.flow, "session": call.session, "user": call.user, "run": call.run}


async def raises(text: str = "boom") -> str:
    """Raises before anything else."""
    raise ValueError(text)


async def raises_late() -> AsyncIterator[str]:
    """Raises after its first token."""
    yield "first"
    raise ValueError("second")


async def refuses(number: int) -> str:
    """Refuses odd numbers."""
    if number % 2:
        raise InvalidInput("must be even", input="number")
    return "even"


async def cancels_itself() -> str:
    """Raises a cancellation that nobody asked for."""
    raise asyncio.CancelledError


async def cancels_its_task() -> str:
    """Cancels the task that it is executed by."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return ""


async def never() -> str:
    """Never ends."""
    await asyncio.Event().wait()
    return ""


async def endless() -> AsyncIterator[str]:
    """Streams without an end."""
    while True:
        yield "more "
        await asyncio.sleep(0.01)


def exits() -> str:
    """Asks the interpreter to exit."""
    raise SystemExit(3)


async def not_json() -> Any:
    """Returns what JSON cannot say."""
    return {"output": float("nan")}


async def not_text() -> AsyncIterator[str]:
    """Streams what no encoding of text can say."""
    yield "fine"
    yield "\ud800"
