"""Retrieval nodes: what a knowledge base holds about a question.

The inputs are `query`, a text; `knowledge`, the name of the knowledge base; `top_k`, how many documents at most; and
`filters`, which of its documents count.
"""

from collections.abc import Mapping

from penstock_server.errors import FlowFailed
from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.knowledge.knowledge import KnowledgeBase
from penstock_server.flows.knowledge.store import TOP_K_DEFAULT, TOP_K_MAX, Filters, Hit, Query
from penstock_server.flows.problems import ProblemFound, did_you_mean

QUERY, KNOWLEDGE, TOP_K, FILTERS = "query", "knowledge", "top_k", "filters"
INPUTS = (QUERY, KNOWLEDGE, TOP_K, FILTERS)


class RetrievalNode:
    """A node that searches a knowledge base. Its output is a list of documents, the best first."""

    is_streaming = False
    optional = frozenset({TOP_K, FILTERS})

    def __init__(self, base: KnowledgeBase) -> None:
        self.output_schema: JsonSchema = _SCHEMA
        self._base = base

    async def call(self, arguments: Mapping[str, object]) -> object:
        """See `Node.call`.

        Raises:
            FlowFailed: the query is no text, or a setting is nothing of its kind.
        """
        text = arguments.get(QUERY)
        if not isinstance(text, str):
            raise FlowFailed(f"`{QUERY}` must be a text")
        try:
            query = Query(text=text, top_k=_top_k(arguments.get(TOP_K)), filters=_filters(arguments.get(FILTERS)))
        except ValueError as error:
            raise FlowFailed(str(error)) from None
        return [_document(hit) for hit in await self._base.search(query)]


def make(declared: NodeDeclaration, workshop: Workshop) -> RetrievalNode | None:
    """See `MakeNode`."""
    what = f"node `{declared.name}`"
    for name, binding in declared.inputs.items():
        if name not in INPUTS:
            text = f"{what}: a retrieval has no input `{name}`"
            workshop.problems.add(binding.item, text, hint=did_you_mean(name, INPUTS))
    for name, read in ((TOP_K, _top_k), (FILTERS, _filters)):
        given = declared.inputs.get(name)
        if given is not None and given.reference is None:
            try:
                read(given.literal)
            except ValueError as error:
                workshop.problems.add(given.item, f"{what}: {error}")
    if QUERY not in declared.inputs:
        workshop.problems.add(declared.item, f"{what} needs an input `{QUERY}`, what is looked for")
    base = _base(what, declared, workshop)
    return RetrievalNode(base) if base else None


def _base(what: str, declared: NodeDeclaration, workshop: Workshop) -> KnowledgeBase | None:
    """The knowledge base; None, with a problem added, where there is none."""
    named = declared.inputs.get(KNOWLEDGE)
    if named is None or named.reference is not None or not isinstance(named.literal, str) or not named.literal:
        item = named.item if named else declared.item
        hint = "write its name, as `penstock knowledge list` tells it; it cannot be a reference"
        workshop.problems.add(item, f"{what} needs an input `{KNOWLEDGE}`, the name of a knowledge base", hint=hint)
        return None
    try:
        return workshop.knowledge.of(named.literal)
    except ProblemFound as error:
        workshop.problems.add(named.item, f"{what}: {error.text}", hint=error.hint)
        return None


def _top_k(value: object) -> int:
    if value in (None, ""):
        return TOP_K_DEFAULT
    number = int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= TOP_K_MAX:
        raise ValueError(f"`{TOP_K}` must be a whole number from 1 to {TOP_K_MAX}")
    return number


def _filters(value: object) -> Filters:
    try:
        return Filters.of(value)
    except ValueError as error:
        raise ValueError(f"`{FILTERS}` {error}") from None


def _document(hit: Hit) -> dict[str, object]:
    chunk = hit.chunk
    return {
        "score": hit.score,
        "source": chunk.source,
        "line": chunk.line,
        "title": chunk.title,
        "text": chunk.text,
    }


_SCHEMA: JsonSchema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "score": {"type": "number"},
            "source": {"type": "string"},
            "line": {"type": "integer"},
            "title": {"type": "string"},
            "text": {"type": "string"},
        },
        "required": ["score", "source", "line", "title", "text"],
    },
}
