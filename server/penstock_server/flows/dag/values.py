"""The values that one execution of a graph has so far."""

import copy
from collections.abc import Mapping

from penstock_server.errors import FlowFailed
from penstock_server.flows.dag.graph import Binding
from penstock_server.flows.dag.plan import PlannedNode

BYPASSED = object()
"""Stands for the value of a node that was bypassed."""


class Values:
    """The inputs of the flow, and what nodes have returned."""

    def __init__(self, arguments: Mapping[str, object], nodes: Mapping[str, object] | None = None) -> None:
        self._arguments = arguments
        self._nodes = dict(nodes or {})

    def copy(self) -> "Values":
        """The same values, apart from those that come later."""
        return Values(self._arguments, self._nodes)

    def put(self, node: str, value: object) -> None:
        """Adds what a node has returned, or `BYPASSED`."""
        self._nodes[node] = value

    def has_all(self, nodes: frozenset[str]) -> bool:
        """Whether all these nodes have returned, or were bypassed."""
        return nodes <= self._nodes.keys()

    def bypassed(self, nodes: frozenset[str]) -> bool:
        """Whether all these nodes were bypassed."""
        return all(self._nodes.get(name) is BYPASSED for name in nodes)

    def found(self, binding: Binding) -> object:
        """What a binding gives; None where its node was bypassed.

        Raises:
            LookupError: there is nothing at the place that it refers to.
        """
        reference = binding.reference
        if reference is None:
            return copy.deepcopy(binding.literal)  # the node's code may change it
        if not reference.node:
            return reference.of(self._arguments[reference.input])
        value = self._nodes[reference.node]
        return None if value is BYPASSED else reference.of(value)

    def bypasses(self, node: PlannedNode) -> bool:
        """Whether a node does not run: by its own condition, or because nothing that its inputs refer to has run.

        Raises:
            FlowFailed: its condition refers to a place where there is nothing.
        """
        activate = node.activate
        if activate is None:
            return bool(node.sources) and all(self._nodes[name] is BYPASSED for name in node.sources)
        if activate.when.node and self._nodes[activate.when.node] is BYPASSED:
            return True
        try:
            return bool(self.found(activate.when) != activate.value)
        except LookupError as error:
            raise FlowFailed(f"node `{node.name}`: `activate`: {error.args[0]}") from None

    def bound(self, node: PlannedNode) -> dict[str, object]:
        """The arguments of a node.

        Raises:
            FlowFailed: an input refers to a place where there is nothing.
        """
        arguments: dict[str, object] = {}
        for name, binding in node.inputs.items():
            if name in node.node.optional and self._is_bypassed(binding):
                continue
            try:
                arguments[name] = self.found(binding)
            except LookupError as error:
                raise FlowFailed(f"node `{node.name}`: input `{name}`: {error.args[0]}") from None
        return arguments

    def _is_bypassed(self, binding: Binding) -> bool:
        return bool(binding.node) and self._nodes[binding.node] is BYPASSED
