"""Texts as vectors of one model, all of one length."""

import asyncio
from collections.abc import Sequence

from penstock_server.errors import ModelRefused
from penstock_server.flows.knowledge.manifest import Manifest
from penstock_server.flows.knowledge.store import Vector
from penstock_server.flows.models.chat import EmbeddingModel, EmbeddingRequest

REQUESTS_AT_ONCE = 4


class Embedder:
    """What makes the vectors of a knowledge base.

    Args:
        manifest: names the model; where it knows the dimensions, other vectors are refused.
        asked_dimensions: how many numbers the model is asked for; 0 for as many as it likes.
    """

    def __init__(self, model: EmbeddingModel, manifest: Manifest, *, asked_dimensions: int = 0) -> None:
        self._model = model
        self._manifest = manifest
        self._settings = {"dimensions": asked_dimensions} if asked_dimensions else {}

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """The vectors of texts, in their order. Cancelling the task ends the requests.

        Raises:
            UpstreamUnavailable, ModelRefused: as `EmbeddingModel`; and where the vectors do not fit the index.
        """
        share = -(-len(texts) // REQUESTS_AT_ONCE) or 1
        parts = [texts[begin : begin + share] for begin in range(0, len(texts), share)]
        tasks = [asyncio.create_task(self._asked(part)) for part in parts]
        try:
            found = [vector for part in await asyncio.gather(*tasks) for vector in part]
        finally:
            for task in tasks:
                task.cancel()
        self._check(found)
        return found

    async def vector(self, text: str) -> Vector:
        """The vector of a text. Raises as `vectors` does."""
        found = await self._asked([text])
        self._check(found)
        return found[0]

    async def _asked(self, texts: Sequence[str]) -> list[Vector]:
        request = EmbeddingRequest(model=self._manifest.model, texts=texts, settings=self._settings)
        return list(await self._model.embed(request))

    def _check(self, vectors: Sequence[Vector]) -> None:
        wanted = self._manifest.dimensions
        other = next((len(vector) for vector in vectors if wanted and len(vector) != wanted), 0)
        if other:
            name, model = self._manifest.name, self._manifest.model
            raise ModelRefused(
                f"the model `{model}` makes vectors of {other} numbers, the index of the knowledge base `{name}` holds"
                f" {wanted}: build it anew (penstock knowledge drop {name}, then build)",
                metadata={"knowledge": name, "connection": self._manifest.connection, "model": model},
            )
