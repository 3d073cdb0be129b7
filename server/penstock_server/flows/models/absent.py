"""The model behind an optional connection that is not set."""

from collections.abc import AsyncGenerator
from typing import NoReturn

from penstock_server.errors import FlowFailed
from penstock_server.flows.models.chat import Answer, EmbeddingRequest, ModelRequest


class AbsentModel:
    """See `Model`. It cannot be asked: the conditions of a flow keep its nodes from running.

    Args:
        connection: the connection's name.
    """

    def __init__(self, connection: str) -> None:
        self._connection = connection

    async def answer(self, request: ModelRequest) -> Answer:
        """Raises FlowFailed."""
        self._fail()

    async def stream(self, request: ModelRequest, answer: Answer) -> AsyncGenerator[str, None]:
        """Raises FlowFailed."""
        self._fail()
        yield ""

    async def embed(self, request: EmbeddingRequest) -> list[list[float]]:
        """Raises FlowFailed."""
        self._fail()

    async def check(self) -> str:
        """Raises FlowFailed."""
        self._fail()

    async def close(self) -> None:
        """Does nothing."""

    def _fail(self) -> NoReturn:
        text = "is optional, and not set; set its values, or let the node's `activate` keep it from running"
        raise FlowFailed(f"the connection `{self._connection}` {text}")
