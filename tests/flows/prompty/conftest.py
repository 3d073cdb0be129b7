import pytest
from tests.modelserver.server import ModelServer


@pytest.fixture
async def server(monkeypatch):
    """A model server, whose address and key the environment names."""
    async with ModelServer().serving() as running:
        monkeypatch.setenv("TEST_MODEL_URL", running.url)
        monkeypatch.setenv("TEST_MODEL_KEY", "k")
        yield running
