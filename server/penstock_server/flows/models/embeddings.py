"""Embeddings: texts as vectors, in requests of a size that every server takes."""

from typing import Any

from penstock_server.flows.models.chat import EmbeddingRequest, Usage
from penstock_server.flows.models.faults import Asked

BATCH_TEXTS_MAX = 10
"""How many texts go into one request; some servers take no more."""


def bodies_of(request: EmbeddingRequest) -> list[dict[str, Any]]:
    """The requests that it takes, in the protocol's form."""
    begins = range(0, len(request.texts), BATCH_TEXTS_MAX)
    batches = [list(request.texts[begin : begin + BATCH_TEXTS_MAX]) for begin in begins]
    return [
        {"model": request.model, "input": batch, "encoding_format": "float", **request.settings} for batch in batches
    ]


def vectors_of(body: object, count: int, asked: Asked) -> list[list[float]]:
    """The vectors of an answer, in the order of the texts.

    Args:
        count: how many there must be.

    Raises:
        UpstreamUnavailable: it is no such answer.
    """
    try:
        data = sorted(body["data"], key=lambda each: int(each["index"]))  # type: ignore[index]
        vectors = [[float(number) for number in each["embedding"]] for each in data]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise asked.unavailable("sent embeddings that are not of OpenAI's protocol") from None
    if [int(each["index"]) for each in data] != list(range(count)) or len({len(vector) for vector in vectors}) != 1:
        raise asked.unavailable(f"sent other embeddings than the {count} that were asked for")
    return vectors


def usage_of(body: Any) -> Usage:
    """What an answer cost; nothing where it does not say so."""
    tokens = (body.get("usage") or {}).get("prompt_tokens")
    return Usage(input_tokens=tokens if isinstance(tokens, int) and tokens > 0 else 0)
