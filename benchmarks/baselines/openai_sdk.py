"""Asks a model server with the `openai` SDK alone, and prints what came of it as JSON.

usage: python -m benchmarks.baselines.openai_sdk URL streams MODEL SECONDS STREAMS
       python -m benchmarks.baselines.openai_sdk URL first MODEL CALLS
"""

import asyncio
import json
import statistics
import sys
import time

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from benchmarks.baselines.loop import new_event_loop

MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You count.\n\n"},
    {"role": "user", "content": "Count, please.\n"},
]
PAUSE_S = 0.01


async def measure(url: str, what: str, model: str, *numbers: str) -> dict[str, float]:
    """`tokens_per_s` of streams that follow one another, or `first_token_ms` of one call after another."""
    async with AsyncOpenAI(base_url=url, api_key="key") as client:
        await _tokens(client, model)
        if what == "first":
            firsts_ms = [await _first_ms(client, model) for _ in range(int(numbers[0]))]
            return {"first_token_ms": statistics.median(firsts_ms)}
        return {"tokens_per_s": await _rate(client, model, float(numbers[0]), int(numbers[1]))}


async def _rate(client: AsyncOpenAI, model: str, seconds: float, streams: int) -> float:
    begin_s = time.monotonic()
    end_s = begin_s + seconds

    async def stream_after_stream() -> int:
        count = 0
        while time.monotonic() < end_s:
            count += await _tokens(client, model)
        return count

    count = sum(await asyncio.gather(*(stream_after_stream() for _ in range(streams))))
    return count / (time.monotonic() - begin_s)


async def _tokens(client: AsyncOpenAI, model: str) -> int:
    chunks = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    return sum([1 async for chunk in chunks if chunk.choices and chunk.choices[0].delta.content])


async def _first_ms(client: AsyncOpenAI, model: str) -> float:
    await asyncio.sleep(PAUSE_S)
    begin_s = time.monotonic()
    first_s = 0.0
    async for chunk in await client.chat.completions.create(model=model, messages=MESSAGES, stream=True):
        if not first_s and chunk.choices and chunk.choices[0].delta.content:
            first_s = time.monotonic()
    return (first_s - begin_s) * 1000


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(runner.run(measure(*sys.argv[1:]))))
