"""A flow as its `flow.dag.yaml` declares it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock_server.flows.dag.policy import Policy
from penstock_server.flows.dag.references import Reference
from penstock_server.flows.document import Item
from penstock_server.flows.inputs import Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What an input of a node gets, or what an output of the flow is."""

    reference: Reference | None
    """Where the value comes from; None for a literal."""
    literal: object = None
    """The value, where there is no reference."""
    item: Item
    """Where it stands."""

    @property
    def node(self) -> str:
        """The node that it refers to; empty where it refers to none."""
        return self.reference.node if self.reference else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When a node runs: `activate`."""

    when: Binding
    value: object
    """What `when` must be equal to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDeclaration:
    """One node as it is declared; of a node with variants, the default one."""

    name: str
    type: str
    item: Item
    """The node in the document, for what its type alone can read."""
    inputs: Mapping[str, Binding]
    activate: Condition | None
    aggregation: bool
    """Whether it is for whole batches of runs: such nodes do not run online."""
    policy: Policy

    @property
    def needs(self) -> frozenset[str]:
        """The nodes whose values it needs."""
        return frozenset(binding.node for _, binding in self.bindings() if binding.node)

    def bindings(self) -> Iterator[tuple[str, Binding]]:
        """All that it may refer with, each with words for it."""
        for name, binding in self.inputs.items():
            yield f"node `{self.name}`, input `{name}`", binding
        if self.activate:
            yield f"node `{self.name}`, `activate`", self.activate.when


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDeclaration:
    """One output as it is declared."""

    name: str
    type: str
    description: str
    bindings: tuple[Binding, ...]
    """What it is. Several refer to nodes of which at most one runs, and that one's counts."""
    evaluation_only: bool = False
    """Whether it is for batches of runs: such outputs are not given online."""

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that it refers to."""
        return frozenset(binding.node for binding in self.bindings if binding.node)

    def binding_of(self, node: str) -> Binding:
        """What it is where this node runs; the only binding of an output that refers to no node."""
        return next(binding for binding in self.bindings if binding.node == node)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A flow as it is declared."""

    description: str
    inputs: tuple[Input, ...]
    outputs: tuple[OutputDeclaration, ...]
    nodes: tuple[NodeDeclaration, ...]
    chat_input: str
    """The input that is what the user says; empty unless this is a chat flow, as are the next two."""
    chat_history: str
    chat_output: str
    allow_extra_inputs: bool = False
    """Whether callers may send inputs that are not declared; nothing sees them."""
    history_rounds_max: int | None = None
    """How many rounds of its session a chat flow gets; None leaves it to the service."""

    @property
    def online_nodes(self) -> tuple[NodeDeclaration, ...]:
        """The nodes that run when the flow is called."""
        return tuple(node for node in self.nodes if not node.aggregation)

    @property
    def online_outputs(self) -> tuple[OutputDeclaration, ...]:
        """The outputs that callers get."""
        batch = {node.name for node in self.nodes if node.aggregation}
        return tuple(each for each in self.outputs if not each.nodes & batch and not each.evaluation_only)

    def bindings(self, *, online: bool = False) -> Iterator[tuple[str, Binding]]:
        """All that may refer to something, each with words for it; only what is online, if so asked."""
        for node in self.online_nodes if online else self.nodes:
            yield from node.bindings()
        for output in self.online_outputs if online else self.outputs:
            yield from ((f"output `{output.name}`", binding) for binding in output.bindings)
