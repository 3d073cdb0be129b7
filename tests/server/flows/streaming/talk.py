"""Streams without an end."""

import asyncio
from collections.abc import AsyncIterator

from penstock.flow import tool


@tool
async def talk() -> AsyncIterator[str]:
    while True:
        yield "word "
        await asyncio.sleep(0)
