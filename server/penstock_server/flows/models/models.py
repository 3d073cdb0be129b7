"""The models behind connections."""

from importlib import import_module

from penstock.connections import (
    AzureOpenAIConnection,
    Connection,
    DashScopeConnection,
    OpenAIConnection,
    ServerlessConnection,
)
from penstock_server.flows.models.chat import Model
from penstock_server.flows.problems import ProblemFound

MODEL_CONNECTIONS = (OpenAIConnection, AzureOpenAIConnection, DashScopeConnection, ServerlessConnection)
"""The connections that lead to models; all of them speak OpenAI's protocol."""


class Models:
    """The models that flows use: one of each connection, with one pool of HTTP connections each.

    Args:
        silence_timeout_s: how long a model may say nothing.
    """

    def __init__(self, *, silence_timeout_s: float) -> None:
        self._silence_timeout_s = silence_timeout_s
        self._models: dict[Connection, Model] = {}

    def of(self, connection: Connection) -> Model:
        """The model behind a connection. The first one imports the SDK, which takes most of a second: do it early.

        Raises:
            ProblemFound: the connection leads to no model, or the SDK is not installed.
        """
        model = self._models.get(connection)
        if model is None:
            model = self._models[connection] = self._made(connection)
        return model

    async def close(self) -> None:
        """Closes the pools."""
        models, self._models = list(self._models.values()), {}
        for model in models:
            await model.close()

    def _made(self, connection: Connection) -> Model:
        if not isinstance(connection, MODEL_CONNECTIONS):
            text = f"connection `{connection.name}` is of the type `{connection.type}`, which leads to no model"
            raise ProblemFound(text, hint=f"the types are {', '.join(each.TYPE for each in MODEL_CONNECTIONS)}")
        try:
            module = import_module("penstock_server.flows.models.openai")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("penstock"):
                raise
            text = f"connection `{connection.name}` needs the package `{error.name}`"
            raise ProblemFound(text, hint="pip install 'penstock[openai]'") from None
        made: Model = module.OpenAIModel(connection, silence_timeout_s=self._silence_timeout_s)
        return made
