"""A flow in ten lines; inputs and output come from the signature. Serve it here: `penstock serve hello:hello`."""

from collections.abc import AsyncIterator


async def hello(name: str = "world") -> AsyncIterator[str]:
    """Greets somebody, word by word."""
    for word in ("Hello, ", name, "!"):
        yield word
