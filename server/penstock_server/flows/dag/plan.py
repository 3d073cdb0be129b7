"""A graph that is ready to be executed: its declarations joined with the nodes that were made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock_server.flows.dag.graph import Binding, Graph, OutputDeclaration
from penstock_server.flows.dag.nodes.node import Node
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.valuetypes import SCHEMAS


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """A node in its place."""

    name: str
    node: Node
    inputs: Mapping[str, Binding]
    needs: frozenset[str]
    """The nodes that go before it."""
    feeds: tuple[str, ...]
    """The nodes that need it."""
    streamed: tuple[str, ...]
    """The outputs of the flow that its chunks are."""
    outputs: tuple[OutputDeclaration, ...]
    """The outputs of the flow that are found in what it returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A graph in which every node is ready."""

    nodes: Mapping[str, PlannedNode]
    given: tuple[OutputDeclaration, ...]
    """The outputs that are inputs of the flow, or literals."""
    output_names: tuple[str, ...]
    streaming: tuple[str, ...]
    """The outputs that stream."""
    output_schema: JsonSchema


def make(graph: Graph, nodes: Mapping[str, Node]) -> Plan:
    """Joins a graph that has no problems with its nodes."""
    streaming = tuple(output.name for output in graph.outputs if _streams(output, nodes))
    return Plan(
        nodes={name: _planned(name, graph, nodes, streaming) for name in nodes},
        given=tuple(output for output in graph.outputs if not _node_of(output)),
        output_names=tuple(output.name for output in graph.outputs),
        streaming=streaming,
        output_schema=_schema(graph, nodes),
    )


def _planned(name: str, graph: Graph, nodes: Mapping[str, Node], streaming: tuple[str, ...]) -> PlannedNode:
    declared = next(node for node in graph.nodes if node.name == name)
    outputs = [output for output in graph.outputs if _node_of(output) == name]
    return PlannedNode(
        name=name,
        node=nodes[name],
        inputs=declared.inputs,
        needs=declared.needs,
        feeds=tuple(node.name for node in graph.nodes if name in node.needs),
        streamed=tuple(output.name for output in outputs if output.name in streaming),
        outputs=tuple(output for output in outputs if output.name not in streaming),
    )


def _node_of(output: OutputDeclaration) -> str:
    reference = output.binding.reference
    return reference.node if reference else ""


def _is_whole(output: OutputDeclaration) -> bool:
    """Whether the output is all that its node returns, rather than something in it."""
    reference = output.binding.reference
    return reference is not None and bool(reference.node) and not reference.steps


def _streams(output: OutputDeclaration, nodes: Mapping[str, Node]) -> bool:
    return _is_whole(output) and nodes[_node_of(output)].is_streaming


def _schema(graph: Graph, nodes: Mapping[str, Node]) -> JsonSchema:
    return {
        "type": "object",
        "properties": {output.name: _output_schema(output, nodes) for output in graph.outputs},
        "required": [output.name for output in graph.outputs],
        "additionalProperties": False,
    }


def _output_schema(output: OutputDeclaration, nodes: Mapping[str, Node]) -> dict[str, Any]:
    """The declared type's schema, else that of the node; prompt flow checks no output's type, and neither do we."""
    if output.type:
        schema = dict(SCHEMAS[output.type])
    else:
        schema = dict(nodes[_node_of(output)].output_schema) if _is_whole(output) else {}
    return {**schema, "description": output.description} if output.description else schema
