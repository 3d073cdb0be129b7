"""A graph as a Mermaid flowchart, which Markdown viewers draw."""

from collections.abc import Iterator

from penstock_server.flows.dag.graph import Graph, NodeDeclaration

INPUTS, OUTPUTS = "inputs", "outputs"
"""The two ends of a chart. No node's name can take their place: nodes are numbered."""


def flowchart(graph: Graph) -> str:
    """The chart: the flow's inputs at its beginning, its outputs at its end, nodes between with what they pass on.

    A dotted line leads from a condition to the node that it switches; a node for batches of runs has a dashed frame.
    """
    ids = {node.name: f"n{number}" for number, node in enumerate(graph.nodes, start=1)}
    lines = [f"{INPUTS}([{_quoted(INPUTS)}])"] if graph.inputs else []
    lines += [f"{ids[node.name]}[{_quoted(node.name, node.type)}]" for node in graph.nodes]
    lines += [f"{OUTPUTS}([{_quoted(OUTPUTS)}])"] if graph.outputs else []
    for node in graph.nodes:
        lines += _edges_to(node, ids)
    for output in graph.outputs:
        for binding in output.bindings:
            source = _source(binding.node, bool(binding.reference), ids)
            lines += [f"{source} -->|{_quoted(output.name)}| {OUTPUTS}"] if source else []
    lines += [f"style {ids[node.name]} stroke-dasharray: 4" for node in graph.nodes if node.aggregation]
    return "\n".join(["flowchart TD", *(f"    {line}" for line in lines)])


def one_step(name: str, kind: str) -> str:
    """The chart of a flow that is a single step."""
    lines = [
        f"{INPUTS}([{_quoted(INPUTS)}])",
        f"n1[{_quoted(name, kind)}]",
        f"{OUTPUTS}([{_quoted(OUTPUTS)}])",
        f"{INPUTS} --> n1",
        f"n1 --> {OUTPUTS}",
    ]
    return "\n".join(["flowchart TD", *(f"    {line}" for line in lines)])


def _edges_to(node: NodeDeclaration, ids: dict[str, str]) -> Iterator[str]:
    """The lines that lead to a node, one from each source, with the inputs that they feed."""
    fed: dict[str, list[str]] = {}
    for name, binding in node.inputs.items():
        source = _source(binding.node, bool(binding.reference), ids)
        if source:
            fed.setdefault(source, []).append(name)
    for source, names in fed.items():
        yield f"{source} -->|{_quoted(', '.join(names))}| {ids[node.name]}"
    if node.activate:
        source = _source(node.activate.when.node, bool(node.activate.when.reference), ids)
        condition = f"if {node.activate.value}"
        yield from [f"{source} -.->|{_quoted(condition)}| {ids[node.name]}"] if source else []


def _source(node: str, is_reference: bool, ids: dict[str, str]) -> str:
    """Where a value comes from; empty for a literal, and for a node that there is not."""
    return ids.get(node, "") if node else INPUTS if is_reference else ""


def _quoted(*lines: str) -> str:
    """Text as Mermaid takes it, whatever it holds."""
    return '"' + "<br/>".join(_escaped(line) for line in lines if line) + '"'


def _escaped(text: str) -> str:
    shown = text if len(text) <= LABEL_CHARS_MAX else f"{text[:LABEL_CHARS_MAX]}…"
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in " ".join(shown.split()))


LABEL_CHARS_MAX = 80
"""How much of a text a label shows."""
_PLAIN = " _-.,:/…"
