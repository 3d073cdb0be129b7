from collections.abc import AsyncIterator, Callable

import pytest
from tests.modelserver.server import ModelServer

from penstock.connections import Connection, OpenAIConnection
from penstock_server.flows.models.chat import ChatModel
from penstock_server.flows.models.models import Models

KEY = "sk-not-to-be-shown"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer().serving() as running:
        yield running


@pytest.fixture
async def model_of() -> AsyncIterator[Callable[..., ChatModel]]:
    """The model behind a connection; its pool is closed after the test."""
    made: list[Models] = []

    def make(connection: Connection, *, silence_timeout_s: float = 30) -> ChatModel:
        made.append(Models(silence_timeout_s=silence_timeout_s))
        return made[-1].of(connection)

    yield make
    for models in made:
        await models.close()


@pytest.fixture
def model(server: ModelServer, model_of: Callable[..., ChatModel]) -> ChatModel:
    return model_of(OpenAIConnection(KEY, base_url=server.url, name="test"))
