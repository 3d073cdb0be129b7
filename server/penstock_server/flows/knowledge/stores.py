"""The kinds of stores, by the names that manifests use."""

from collections.abc import Mapping
from importlib import import_module

from penstock_server.flows.knowledge.store import OpenStore
from penstock_server.flows.problems import ProblemFound

KEYWORDS = "keywords"
"""Finds chunks by their words; it needs no model."""
VECTORS = "milvus"
"""Finds chunks by vectors, where nobody asks for another one."""

STORES: Mapping[str, tuple[str, str]] = {
    KEYWORDS: ("penstock_server.flows.knowledge.keywords", "KeywordStore"),
    VECTORS: ("penstock_server.flows.knowledge.milvus", "MilvusStore"),
}
"""The module and the name in it of each."""


def of(kind: str) -> OpenStore:
    """What opens stores of a kind. The first one of Milvus imports its client, which takes a second: do it early.

    Raises:
        ProblemFound: there is no such kind, or its package is not installed.
    """
    if kind not in STORES:
        raise ProblemFound(f"there is no kind of index `{kind}`", hint=f"there are {', '.join(STORES)}")
    module, name = STORES[kind]
    try:
        found: OpenStore = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("penstock"):
            raise
        raise ProblemFound(
            f"the index needs the package `{error.name}`", hint=f"pip install 'penstock[{kind}]'"
        ) from None
    return found
