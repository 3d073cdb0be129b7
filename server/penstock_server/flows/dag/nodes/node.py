"""What a node is to the rest of the engine, and the kinds of node that there are.

A kind of node is a function that reads a declaration and returns something to call. To add one, write the function and
name it in `registry.NODE_TYPES`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.document import Problems
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.modules import FlowModules
from penstock_server.flows.threads import Threads


class Node(Protocol):
    """A node that can be executed, many times at once."""

    @property
    def is_streaming(self) -> bool:
        """Whether the node announces that it returns an iterator."""

    @property
    def output_schema(self) -> JsonSchema:
        """The JSON Schema of the whole that it returns."""

    async def call(self, arguments: Mapping[str, object]) -> object:
        """Executes the node; what it returns may be an iterator, asynchronous or not, that is still to be run.

        Raises:
            CodeRaised: code in a thread raised.
            BaseException: code on the loop raised.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What the functions that make nodes may use."""

    folder: Path
    modules: FlowModules
    threads: Threads
    problems: Problems

    def source(self, declared: NodeDeclaration) -> Path | None:
        """The file in the flow's folder that a node's `source` names; None, with a problem added, if there is none."""
        source = declared.item.get("source")
        path = source.get("path") if source else None
        if source is None or path is None:
            self.problems.add(source or declared.item, f"node `{declared.name}` needs a `source` with a `path`")
            return None
        kind = source.get("type")
        if kind is not None and kind.value != "code":
            self.problems.add(kind, f"node `{declared.name}`: the source type `{kind.plain()}` is not supported yet")
            return None
        file = Path(os.path.normpath(self.folder / str(path.plain())))
        if not file.is_relative_to(self.folder):
            self.problems.add(path, f"node `{declared.name}`: `{path.plain()}` lies outside the flow's folder")
            return None
        if not os.path.isfile(file):  # noqa: PTH113 - False for a path that no system could hold, too
            self.problems.add(path, f"node `{declared.name}`: there is no file `{path.plain()}`")
            return None
        return file


class MakeNode(Protocol):
    """Makes a node of its declaration."""

    def __call__(self, declared: NodeDeclaration, workshop: Workshop) -> Node | None:
        """Returns None, with a problem added, where that is not possible."""
