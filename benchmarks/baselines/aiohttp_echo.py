"""A bare aiohttp server: JSON echo and an SSE stream, and nothing around them.

Run as `python -m benchmarks.baselines.aiohttp_echo READY_FILE`.
"""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
from aiohttp import web

from benchmarks import flows
from benchmarks.baselines.loop import serve

STREAMS: dict[str, Callable[..., AsyncIterator[str]]] = {
    "tokens": flows.tokens,
    "paced": flows.paced,
    "stamped": flows.stamped,
}


async def echo(request: web.Request) -> web.Response:
    inputs = orjson.loads(await request.read())
    body = orjson.dumps({"output": await flows.echo(inputs["text"])})
    return web.Response(body=body, content_type="application/json")


async def stream(request: web.Request) -> web.StreamResponse:
    inputs = orjson.loads(await request.read())["inputs"]
    response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
    await response.prepare(request)
    sequence = 0
    async for token in STREAMS[request.match_info["flow"]](**inputs):
        sequence += 1
        await response.write(b"id: %d\ndata: %b\n\n" % (sequence, orjson.dumps({"output": token})))
    await response.write(b'event: done\ndata: {"run":"r","status":"SUCCEEDED"}\n\n')
    await response.write_eof()
    return response


async def start() -> dict[str, str]:
    app = web.Application()
    app.router.add_post("/", echo)
    app.router.add_post("/v1/flows/{flow}:invokeStream", stream)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return {"http": f"http://{host}:{port}"}


if __name__ == "__main__":
    serve(start, Path(sys.argv[1]))
