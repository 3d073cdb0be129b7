"""The flow that the traffic calls."""

import asyncio
import os
from functools import cache
from typing import Any

EXECUTIONS_FILE = "EXECUTIONS_FILE"
"""The environment's name for the file in which every execution leaves a line."""
WORK_S = 0.01
"""How long an answer takes, so that a fault always meets runs that have begun and have not ended."""
ANSWER = "you said: "


async def chat(question: str, chat_history: list[Any]) -> str:
    """Answers a question, and leaves a line that outlives the process."""
    os.write(_executions(), f"{question}\n".encode())
    await asyncio.sleep(WORK_S)
    return ANSWER + question


@cache
def _executions() -> int:
    return os.open(os.environ[EXECUTIONS_FILE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
