"""What a node is to the rest of the engine, and the kinds of node that there are.

A kind of node is a function that reads a declaration and returns something to call. To add one, write the function and
name it in `registry.NODE_TYPES`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from penstock_server.flows import requirements
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.flow import JsonSchema
from penstock_server.flows.knowledge.knowledge import Knowledge
from penstock_server.flows.models.models import Models
from penstock_server.flows.modules import FlowModules
from penstock_server.flows.templates.template import Template, TemplateProblem
from penstock_server.flows.threads import Threads


class Node(Protocol):
    """A node that can be executed, many times at once."""

    @property
    def is_streaming(self) -> bool:
        """Whether the node announces that it returns an iterator."""

    @property
    def output_schema(self) -> JsonSchema:
        """The JSON Schema of the whole that it returns; of an object, each property is an output of its own."""

    @property
    def optional(self) -> frozenset[str]:
        """The inputs that it has defaults for: where what they refer to was bypassed, they are not given at all."""

    async def call(self, arguments: Mapping[str, object]) -> object:
        """Executes the node; what it returns may be an iterator, asynchronous or not, that is still to be run.

        Raises:
            CodeRaised: code in a thread raised.
            BaseException: code on the loop raised.
        """


@runtime_checkable
class Blocking(Protocol):
    """A node that a thread can execute from its beginning to its end."""

    def execute(self, arguments: Mapping[str, object]) -> object:
        """Executes the node in the calling thread; what it returns may have to be awaited, or be an iterator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What the functions that make nodes may use."""

    folder: Path
    modules: FlowModules
    threads: Threads
    problems: Problems
    connections: Connections
    models: Models
    knowledge: Knowledge

    def source(self, declared: NodeDeclaration) -> Path | None:
        """The file in the flow's folder that a node's `source` names; None, with a problem added, if there is none."""
        path = self._source_item(declared, "path")
        if path is None:
            return None
        file = Path(os.path.normpath(self.folder / str(path.plain())))
        if not file.is_relative_to(self.folder):
            text = f"node `{declared.name}`: `{path.plain()}` lies outside the flow's folder"
            self.problems.add(path, text, hint="additional_includes brings files of elsewhere into it")
            return None
        if not os.path.isfile(file):  # noqa: PTH113 - False for a path that no system could hold, too
            self.problems.add(path, f"node `{declared.name}`: there is no file `{path.plain()}`")
            return None
        return file

    def template(self, declared: NodeDeclaration) -> Template | None:
        """The template that a node's `source` names; None, with a problem added, if there is none."""
        path = self.source(declared)
        if path is None:
            return None
        file = path.relative_to(self.folder).as_posix()
        try:
            return Template(path.read_text("utf-8"), path)
        except TemplateProblem as error:
            text = f"node `{declared.name}`: not a Jinja2 template: {error}"
            self.problems.add_beside(file, error.line, text)
        except UnicodeDecodeError:
            self.problems.add(declared.item, f"node `{declared.name}`: {file} is not UTF-8")
        except OSError as error:
            self.problems.add(declared.item, f"node `{declared.name}`: {file} cannot be read: {error.strerror}")
        return None

    def tool_name(self, declared: NodeDeclaration) -> str | None:
        """The tool of an installed package that a node's `source` names; None, with a problem added, if none."""
        tool = self._source_item(declared, "tool")
        return None if tool is None else str(tool.value)

    def hint_of(self, error: BaseException) -> str:
        """What to do where code of the flow raised an error while it was imported."""
        return requirements.hint_of(error, self.folder)

    def _source_item(self, declared: NodeDeclaration, key: str) -> Item | None:
        source = declared.item.get("source")
        item = source.get(key) if source else None
        if item is None or not isinstance(item.value, str) or not item.value:
            self.problems.add(source or declared.item, f"node `{declared.name}` needs a `source` with a `{key}`")
            return None
        return item


class MakeNode(Protocol):
    """Makes a node of its declaration."""

    def __call__(self, declared: NodeDeclaration, workshop: Workshop) -> Node | None:
        """Returns None, with a problem added, where that is not possible."""
