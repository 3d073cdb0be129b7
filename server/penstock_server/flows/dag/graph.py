"""What a `flow.dag.yaml` declares, read and checked."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from penstock_server.flows.dag.references import Reference, parse
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.inputs import Input
from penstock_server.flows.problems import ProblemFound, did_you_mean
from penstock_server.flows.valuetypes import read_input, read_type, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What an input of a node gets, or what an output of the flow is."""

    reference: Reference | None
    """Where the value comes from; None for a literal."""
    literal: object = None
    """The value, where there is no reference."""
    item: Item
    """Where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDeclaration:
    """One node as it is declared."""

    name: str
    type: str
    item: Item
    """The node in the document, for what its type alone can read."""
    inputs: Mapping[str, Binding]

    @property
    def needs(self) -> frozenset[str]:
        """The nodes whose values it needs."""
        return frozenset(each.reference.node for each in self.inputs.values() if each.reference and each.reference.node)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDeclaration:
    """One output as it is declared."""

    name: str
    type: str
    description: str
    binding: Binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A flow as it is declared."""

    description: str
    inputs: tuple[Input, ...]
    outputs: tuple[OutputDeclaration, ...]
    nodes: tuple[NodeDeclaration, ...]
    chat_input: str
    chat_history: str
    chat_output: str


def read(document: Item, problems: Problems) -> Graph:
    """Reads a document; what is wrong with it is added to `problems`, and the rest is read all the same.

    Raises:
        FlowLoadError: nothing can be read of it.
    """
    if not isinstance(document.value, dict):
        problems.add(document, "the document must be a mapping with `inputs`, `outputs` and `nodes`")
        problems.check()
    inputs = _section(document, "inputs", problems)
    outputs = _section(document, "outputs", problems)
    nodes = _nodes(document, problems)
    graph = Graph(
        description=text_of(document.get("description")),
        inputs=tuple(read_input(name, item, problems) for name, item in inputs.items()),
        outputs=tuple(_output(name, item, problems) for name, item in outputs.items()),
        nodes=tuple(nodes),
        chat_input=_flagged("is_chat_input", inputs, problems),
        chat_history=_flagged("is_chat_history", inputs, problems),
        chat_output=_flagged("is_chat_output", outputs, problems),
    )
    _check_references(graph, problems)
    _check_cycles(graph, problems)
    return graph


def _section(document: Item, key: str, problems: Problems) -> Mapping[str, Item]:
    item = document.get(key)
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, f"`{key}` must be a mapping of names to declarations")
    entries = item.entries() if item else {}
    for name, entry in entries.items():
        if not isinstance(entry.value, dict):
            problems.add(entry, f"`{name}` under `{key}` must be a mapping, with its `type`")
    return {name: entry for name, entry in entries.items() if isinstance(entry.value, dict)}


def _output(name: str, item: Item, problems: Problems) -> OutputDeclaration:
    reference = item.get("reference")
    if reference is None:
        problems.add(item, f"output `{name}` has no `reference`")
    return OutputDeclaration(
        name=name,
        type=read_type(f"output `{name}`", item, problems),
        description=text_of(item.get("description")),
        binding=_binding(f"output `{name}`", reference or item, problems),
    )


def _nodes(document: Item, problems: Problems) -> Iterable[NodeDeclaration]:
    item = document.get("nodes")
    if item is None or not isinstance(item.value, list):
        problems.add(item or document, "`nodes` must be a list of nodes")
        return []
    nodes: dict[str, NodeDeclaration] = {}
    for entry in item.value:
        node = _node(entry, problems)
        if node is not None and node.name in nodes:
            first = nodes[node.name].item.line
            problems.add(entry.get("name"), f"node `{node.name}` is there twice, first in line {first}")
        elif node is not None:
            nodes[node.name] = node
    return nodes.values()


def _node(item: Item, problems: Problems) -> NodeDeclaration | None:
    name = text_of(item.get("name"))
    if not name:
        problems.add(item, "a node must have a `name`")
        return None
    if name in ("inputs", "flow") or set(name) & set(".[]{}'\""):
        problems.add(item.get("name"), f"node `{name}`: references could not name it", hint="rename the node")
    _check_supported(name, item, problems)
    inputs = item.get("inputs")
    if inputs is not None and not isinstance(inputs.value, dict):
        problems.add(inputs, f"node `{name}`: `inputs` must be a mapping")
    entries = inputs.entries() if inputs else {}
    bindings = {key: _binding(f"node `{name}`, input `{key}`", entry, problems) for key, entry in entries.items()}
    return NodeDeclaration(name=name, type=text_of(item.get("type")), item=item, inputs=bindings)


def _check_supported(name: str, item: Item, problems: Problems) -> None:
    """Refuses what would change the results if it were ignored."""
    for key in ("activate", "aggregation", "reduce", "skip", "use_variants"):
        value = item.get(key)
        if value is not None and value.value is not False:
            problems.add(value, f"node `{name}`: `{key}` is not supported yet")


def _binding(what: str, item: Item, problems: Problems) -> Binding:
    value = item.plain()
    try:
        return Binding(reference=parse(value), literal=value, item=item)
    except ProblemFound as error:
        problems.add(item, f"{what}: {error.text}", hint=error.hint)
        return Binding(reference=None, item=item)


def _flagged(flag: str, entries: Mapping[str, Item], problems: Problems) -> str:
    """The one entry that has the flag; empty where none has."""
    found = [name for name, item in entries.items() if (mark := item.get(flag)) and mark.value is True]
    if len(found) > 1:
        problems.add(entries[found[1]], f"`{found[0]}` and `{found[1]}` both have `{flag}`; a flow has one")
    return found[0] if found else ""


def _check_references(graph: Graph, problems: Problems) -> None:
    inputs = [each.name for each in graph.inputs]
    nodes = [node.name for node in graph.nodes]
    for what, binding in _bindings(graph):
        reference = binding.reference
        if reference is None:
            continue
        if reference.input and reference.input not in inputs:
            text = f"{what}: {reference.text}: the flow has no input `{reference.input}`"
            problems.add(binding.item, text, hint=did_you_mean(reference.input, inputs))
        if reference.node and reference.node not in nodes:
            text = f"{what}: {reference.text}: there is no node `{reference.node}`"
            problems.add(binding.item, text, hint=did_you_mean(reference.node, nodes))


def _bindings(graph: Graph) -> Iterator[tuple[str, Binding]]:
    for node in graph.nodes:
        for name, binding in node.inputs.items():
            yield f"node `{node.name}`, input `{name}`", binding
    for output in graph.outputs:
        yield f"output `{output.name}`", output.binding


def _check_cycles(graph: Graph, problems: Problems) -> None:
    needs = {node.name: sorted(node.needs) for node in graph.nodes}
    items = {node.name: node.item for node in graph.nodes}
    for cycle in _cycles(needs):
        problems.add(items[cycle[0]], f"the nodes need each other in a circle: {' → '.join([*cycle, cycle[0]])}")


def _cycles(needs: Mapping[str, list[str]]) -> list[list[str]]:
    """One circle for each group of nodes that need each other, found by removing what needs nothing that is left."""
    left = dict(needs)
    while True:
        free = [name for name, needed in left.items() if not any(each in left for each in needed)]
        if not free:
            break
        for name in free:
            del left[name]
    found: list[list[str]] = []
    while left:
        cycle = _walk(left)
        found.append(cycle)
        left = _without(left, set(cycle))
    return found


def _walk(left: Mapping[str, list[str]]) -> list[str]:
    """A circle, found by going from need to need until a node comes again.

    It is given in the direction of the data, from the node that the document has first.
    """
    path = [next(iter(left))]
    while (following := next(each for each in left[path[-1]] if each in left)) not in path:
        path.append(following)
    cycle = path[path.index(following) :][::-1]
    first = cycle.index(next(name for name in left if name in cycle))
    return cycle[first:] + cycle[:first]


def _without(left: Mapping[str, list[str]], gone: set[str]) -> dict[str, list[str]]:
    """What is left without some nodes and without those that need them, directly or not."""
    while True:
        hit = {name for name, needed in left.items() if gone & set(needed)} - gone
        if not hit:
            return {name: needed for name, needed in left.items() if name not in gone}
        gone |= hit
