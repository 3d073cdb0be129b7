"""What a graph must be beyond its form: its references lead somewhere, and not in circles."""

from penstock_server.flows.dag.cycles import cycles
from penstock_server.flows.dag.graph import Condition, Graph, NodeDeclaration, OutputDeclaration
from penstock_server.flows.document import Problems
from penstock_server.flows.problems import did_you_mean


def check(graph: Graph, problems: Problems) -> None:
    """Adds a problem for each reference to nothing, or to what comes too late, and for each circle."""
    _check_references(graph, problems)
    for output in graph.outputs:
        if len(output.bindings) > 1:
            _check_alternatives(output, graph, problems)
    for node in graph.online_nodes:
        _check_runs_online(node, graph, problems)
    items = {node.name: node.item for node in graph.nodes}
    for cycle in cycles({node.name: sorted(node.needs) for node in graph.nodes}):
        problems.add(items[cycle[0]], f"the nodes need each other in a circle: {' → '.join([*cycle, cycle[0]])}")


def _check_references(graph: Graph, problems: Problems) -> None:
    inputs = [declared.name for declared in graph.inputs]
    nodes = [node.name for node in graph.nodes]
    for what, binding in graph.bindings():
        reference = binding.reference
        if reference and reference.input and reference.input not in inputs:
            text = f"{what}: {reference.text}: the flow has no input `{reference.input}`"
            problems.add(binding.item, text, hint=did_you_mean(reference.input, inputs))
        if reference and reference.node and reference.node not in nodes:
            text = f"{what}: {reference.text}: there is no node `{reference.node}`"
            problems.add(binding.item, text, hint=did_you_mean(reference.node, nodes))


def _check_alternatives(output: OutputDeclaration, graph: Graph, problems: Problems) -> None:
    """Adds a problem where more than one of the nodes that an output refers to could run."""
    conditions = {node.name: node.activate for node in graph.nodes}
    said: list[Condition] = []
    for binding in output.bindings:
        what = f"output `{output.name}`"
        if not binding.node:
            problems.add(binding.item, f"{what}: each of several references must lead to a node")
        elif binding.node in conditions:
            condition = conditions[binding.node]
            if condition is None or not all(_exclude(condition, other) for other in said):
                text = f"{what}: `{binding.node}` could run together with another node that the output refers to"
                problems.add(binding.item, text, hint=ALTERNATIVES)
            said += [condition] if condition else []


def _exclude(one: Condition, other: Condition) -> bool:
    """Whether two conditions are never fulfilled together: they ask for different values of the same thing."""
    same = one.when.reference is not None and one.when.reference == other.when.reference
    return same and bool(one.value != other.value)


ALTERNATIVES = "each needs an `activate` with the same `when`, and an `is` of its own"


def _check_runs_online(node: NodeDeclaration, graph: Graph, problems: Problems) -> None:
    batch = {each.name for each in graph.nodes if each.aggregation}
    for what, binding in node.bindings():
        if binding.node in batch:
            hint = "only other aggregation nodes, and outputs, may refer to it"
            problems.add(binding.item, f"{what}: `{binding.node}` is an aggregation node", hint=hint)
