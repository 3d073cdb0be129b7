"""How a caller is told that its call was accepted."""

from typing import Any

from penstock_server import metadata

Context = Any  # grpc.aio.ServicerContext, or the in-process one


async def acknowledge(context: Context, *, run: str, session: str = "") -> metadata.Pairs:
    """Sends the run's id, and the session's where there is one, before the answer. Returns what was sent."""
    said = (((metadata.SESSION_ID, session),) if session else ()) + ((metadata.RUN_ID, run),)
    await context.send_initial_metadata(said)
    return said


async def acknowledge_stream(context: Context, *, run: str, session: str = "") -> None:
    """As `acknowledge`, and says it again with the status.

    A `grpc.aio` client takes a stream's status as soon as it is there, and then has lost initial metadata that it has
    not read yet: of a stream that ends without a message, the trailing metadata alone are sure to be seen.
    """
    context.set_trailing_metadata(await acknowledge(context, run=run, session=session))
