"""`python -m tests.modelserver --port 0`: starts the server by hand and prints its base address."""

import argparse
import asyncio
import contextlib

from tests.modelserver.server import ModelServer


async def main() -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.modelserver", description=__doc__)
    parser.add_argument("--port", type=int, default=8090, help="the port of 127.0.0.1; 0 takes a free one")
    parser.add_argument("--key", action="append", default=[], help="a key that counts; any does if none is given")
    options = parser.parse_args()
    async with ModelServer(options.key).serving(port=options.port) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
