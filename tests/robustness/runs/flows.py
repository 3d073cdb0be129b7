"""The flows that the traffic calls: they tell numbered tokens at a pace, and leave lines that outlive their process.

A line is written before what it speaks of can be seen, so that the file never lags behind what was told.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from functools import cache
from typing import Any
from uuid import uuid4

from tests.robustness.runs.effects import EFFECTS_FILE, UPSTREAM_PORT

from penstock.flow import current_call


async def chat(
    question: str, chat_history: list[Any], tokens: int = 1, pace_ms: int = 0, upstream: bool = False
) -> AsyncIterator[str]:
    """Answers a question."""
    async for token in _telling(question, tokens, pace_ms, upstream, rounds=len(chat_history) // 2):
        yield token


async def tell(question: str, tokens: int = 1, pace_ms: int = 0, upstream: bool = False) -> AsyncIterator[str]:
    """Answers without a conversation."""
    async for token in _telling(question, tokens, pace_ms, upstream, rounds=0):
        yield token


async def _telling(question: str, tokens: int, pace_ms: int, upstream: bool, *, rounds: int) -> AsyncIterator[str]:
    execution = uuid4().hex[:8]  # no two executions say the same
    _leave("started", question, str(rounds))
    connection = await _connected() if upstream else None
    try:
        for number in range(1, tokens + 1):
            token = f"{execution}-{number} "
            _leave("told", question, token)
            yield token
            await asyncio.sleep(pace_ms / 1000)
        _leave("ended", question)
    finally:
        if connection is not None:
            connection.close()


async def _connected() -> asyncio.StreamWriter:
    """A request to what the flow needs: it is open as long as the flow is at work."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(os.environ[UPSTREAM_PORT]))
    writer.write(f"{current_call.get().run}\n".encode())
    return writer


def _leave(what: str, question: str, text: str = "") -> None:
    """One line, written at once: where many processes append, none is torn."""
    call = current_call.get()
    fields = (str(time.monotonic_ns()), str(os.getpid()), call.run, call.session, question, what, text)
    os.write(_file(), ("\t".join(fields) + "\n").encode())


@cache
def _file() -> int:
    return os.open(os.environ[EFFECTS_FILE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
