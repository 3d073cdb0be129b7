"""A graph that is ready to be executed: its declarations joined with the nodes that were made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock_server.flows.dag.graph import Binding, Condition, Graph, NodeDeclaration, OutputDeclaration
from penstock_server.flows.dag.nodes.node import Blocking, Node
from penstock_server.flows.dag.policy import Policy
from penstock_server.flows.document import Problems
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.problems import did_you_mean
from penstock_server.flows.valuetypes import SCHEMAS


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """A node in its place."""

    name: str
    node: Node
    inputs: Mapping[str, Binding]
    activate: Condition | None
    policy: Policy
    needs: frozenset[str]
    """The nodes that go before it."""
    sources: frozenset[str]
    """Those of them that its inputs refer to."""
    feeds: tuple[str, ...]
    """The nodes that need it."""
    streamed: tuple[str, ...]
    """The outputs of the flow that its chunks are."""
    outputs: tuple[OutputDeclaration, ...]
    """The outputs of the flow that are found in what it returns."""

    blocking: Blocking | None
    """The node, where a thread may execute it from its beginning to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A graph in which every node is ready."""

    nodes: Mapping[str, PlannedNode]
    strands: Mapping[str, tuple[PlannedNode, ...]]
    """The nodes of blocking code that one thread executes one after another, by the first of them."""
    given: tuple[OutputDeclaration, ...]
    """The outputs that are inputs of the flow, or literals."""
    sources: Mapping[str, frozenset[str]]
    """The nodes that may give each output."""
    streaming: tuple[str, ...]
    """The outputs that stream."""
    output_schema: JsonSchema


def make(graph: Graph, nodes: Mapping[str, Node], problems: Problems) -> Plan:
    """Joins a graph with its nodes: those that run online.

    Raises:
        FlowLoadError: something is wrong with the graph or its nodes; it holds all that is in `problems`.
    """
    _check_fields(graph, nodes, problems)
    problems.check()
    outputs = graph.online_outputs
    streaming = tuple(output.name for output in outputs if _streams(output, nodes))
    planned = {node.name: _planned(node, graph, nodes, streaming) for node in graph.online_nodes}
    return Plan(
        nodes=planned,
        strands=_strands(planned, streaming),
        given=tuple(output for output in outputs if not output.nodes),
        sources={output.name: output.nodes for output in outputs},
        streaming=streaming,
        output_schema=_schema(graph, nodes),
    )


def _planned(
    declared: NodeDeclaration, graph: Graph, nodes: Mapping[str, Node], streaming: tuple[str, ...]
) -> PlannedNode:
    node = nodes[declared.name]
    outputs = [output for output in graph.online_outputs if declared.name in output.nodes]
    streamed = tuple(
        each.name for each in outputs if each.name in streaming and _is_whole(each.binding_of(declared.name))
    )
    is_plain = declared.policy.is_plain and not streamed
    return PlannedNode(
        name=declared.name,
        node=node,
        inputs=declared.inputs,
        activate=declared.activate,
        policy=declared.policy,
        needs=declared.needs,
        sources=frozenset(binding.node for binding in declared.inputs.values() if binding.node),
        feeds=tuple(other.name for other in graph.online_nodes if declared.name in other.needs),
        streamed=streamed,
        outputs=tuple(output for output in outputs if output.name not in streamed),
        blocking=node if is_plain and isinstance(node, Blocking) else None,
    )


def _strands(nodes: Mapping[str, PlannedNode], streaming: tuple[str, ...]) -> dict[str, tuple[PlannedNode, ...]]:
    following: dict[str, PlannedNode] = {}
    for node in nodes.values():
        if node.blocking and len(node.needs) == 1:
            before = nodes[next(iter(node.needs))]
            is_told_now = bool(streaming and before.outputs)  # an output of its own does not wait for the next node
            if before.blocking and before.feeds == (node.name,) and not is_told_now:
                following[before.name] = node
    later = {node.name for node in following.values()}
    found: dict[str, tuple[PlannedNode, ...]] = {}
    for node in nodes.values():
        if node.blocking and node.name not in later:
            strand = [node]
            while strand[-1].name in following:
                strand.append(following[strand[-1].name])
            found[node.name] = tuple(strand)
    return found


def _check_fields(graph: Graph, nodes: Mapping[str, Node], problems: Problems) -> None:
    """Checks references such as `${node.total}`: what the node returns must be known to have that field."""
    for what, binding in graph.bindings(online=True):
        reference = binding.reference
        if reference is None or not reference.field or reference.node not in nodes:
            continue
        fields = ["output", *nodes[reference.node].output_schema.get("properties", {})]
        if reference.field not in fields:
            text = f"{what}: {reference.text}: node `{reference.node}` has no output `{reference.field}`"
            problems.add(binding.item, text, hint=did_you_mean(reference.field, fields))


def _is_whole(binding: Binding) -> bool:
    """Whether it is all that a node returns, rather than something in it."""
    reference = binding.reference
    return reference is not None and bool(reference.node) and not reference.steps


def _streams(output: OutputDeclaration, nodes: Mapping[str, Node]) -> bool:
    return any(_is_whole(binding) and nodes[binding.node].is_streaming for binding in output.bindings)


def _schema(graph: Graph, nodes: Mapping[str, Node]) -> JsonSchema:
    online = graph.online_outputs
    absent = [output.name for output in graph.outputs if output not in online]
    said = f"Not given online, for they are of aggregation nodes or for evaluation only: {', '.join(absent)}."
    return {
        "type": "object",
        **({"description": said} if absent else {}),
        "properties": {output.name: _output_schema(output, nodes, _bypassable(graph)) for output in online},
        "required": [output.name for output in online],
        "additionalProperties": False,
    }


def _output_schema(output: OutputDeclaration, nodes: Mapping[str, Node], bypassable: frozenset[str]) -> dict[str, Any]:
    """The declared type's schema, else that of the node; prompt flow checks no output's type, and neither do we."""
    if output.type:
        schema = dict(SCHEMAS[output.type])
    else:
        found = [nodes[each.node].output_schema if _is_whole(each) else {} for each in output.bindings]
        schema = dict(found[0]) if all(each == found[0] for each in found) else {}
    if schema and output.nodes and output.nodes <= bypassable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "description": output.description} if output.description else schema


def _bypassable(graph: Graph) -> frozenset[str]:
    """The nodes that may be bypassed: those with a condition, and those that need nothing but such nodes."""
    found = {node.name for node in graph.nodes if node.activate}
    while more := {node.name for node in graph.nodes if node.name not in found and node.needs and node.needs <= found}:
        found |= more
    return frozenset(found)
