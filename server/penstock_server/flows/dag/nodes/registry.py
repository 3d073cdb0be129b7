"""The kinds of node, by the `type` that a flow's YAML names."""

from collections.abc import Mapping

from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes import custom_llm, embedding, llm, prompt, python, retrieval
from penstock_server.flows.dag.nodes.node import MakeNode, Node, Workshop
from penstock_server.flows.problems import did_you_mean

NODE_TYPES: Mapping[str, MakeNode] = {
    "python": python.make,
    "prompt": prompt.make,
    "custom_llm": custom_llm.make,
    "llm": llm.make,
    "embedding": embedding.make,
    "retrieval": retrieval.make,
}


def make(declared: NodeDeclaration, workshop: Workshop) -> Node | None:
    """Makes a node of its declaration; None, with a problem added, where that is not possible."""
    make_node = NODE_TYPES.get(declared.type)
    if make_node is not None:
        return make_node(declared, workshop)
    item = declared.item.get("type") or declared.item
    if not declared.type:
        text, hint = "has no `type`", f"the types are {', '.join(NODE_TYPES)}"
    else:
        text, hint = f"is of an unknown type, `{declared.type}`", did_you_mean(declared.type, list(NODE_TYPES))
    workshop.problems.add(item, f"node `{declared.name}` {text}", hint=hint)
    return None
