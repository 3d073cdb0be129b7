"""Chat flows that show what they are told of their session."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from penstock.flow import InvalidInput, current_call

executed: list[str] = []
"""The questions that were executed, each as often as it was."""
gates: dict[str, asyncio.Event] = {}
"""What `gated` waits for, by question."""


async def told(question: str, chat_history: list[Any]) -> str:
    """Answers with what it was told of the rounds before."""
    executed.append(question)
    return repr([(each["role"], each["content"]) for each in chat_history])


async def gated(question: str, chat_history: list[Any]) -> AsyncIterator[str]:
    """Says half, waits for its gate, and says the rest."""
    executed.append(question)
    yield "half "
    await gates.setdefault(question, asyncio.Event()).wait()
    yield "whole"


async def breaks(question: str, chat_history: list[Any]) -> AsyncIterator[str]:
    """Says half, and raises."""
    yield "half "
    raise ValueError(question)


async def picky(question: str, chat_history: list[dict[str, str]]) -> str:
    """Refuses a question that was asked before."""
    if question in [each["content"] for each in chat_history]:
        raise InvalidInput("was asked before", input="question")
    return current_call.get().session


async def bulky(question: str, chat_history: list[Any]) -> AsyncIterator[str]:
    """Says 9 MiB, in so many pieces as it is asked for, of what takes four times as much in a statement."""
    pieces = int(question)
    for _ in range(pieces):
        yield '"\\\n' * (3 * 1024 * 1024 // pieces)
