"""YAML documents with the place of every value, read without trusting their author.

The scalars are those of YAML 1.2's core schema, as in prompt flow: `yes` and `2024-01-01` are text. Merge keys (`<<`)
work. Documents are bounded in size, depth and, with all aliases written out, in values.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from re import compile as pattern

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from penstock_server.flows.problems import FlowLoadError, Problem

Scalar = bool | int | float | str | None

VALUES_MAX = 20_000
"""How many values a document may hold once its aliases are written out."""

DEPTH_MAX = 64
"""How deep a document may nest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A value in a document, with its place."""

    value: "Scalar | list[Item] | dict[str, Item]"
    line: int
    """From 1, as is `column`."""
    column: int

    def plain(self) -> object:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return [item.plain() for item in self.value] if isinstance(self.value, list) else self.value

    def get(self, key: str) -> "Item | None":
        """What a mapping holds under a key; None where there is nothing, or null, or no mapping."""
        item = self.value.get(key) if isinstance(self.value, dict) else None
        return None if item is None or item.value is None else item

    def entries(self) -> "dict[str, Item]":
        """The items of a mapping; none where it is no mapping."""
        return self.value if isinstance(self.value, dict) else {}


class Problems:
    """The problems of one file, collected.

    Attributes:
        file: the file, as people are to read its name.
        found: the problems.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Problem] = []

    def add(self, where: Item | None, text: str, *, hint: str = "", trace: str = "") -> None:
        """Adds a problem at an item, or one of the whole file."""
        line, column = (where.line, where.column) if where else (0, 0)
        self.found.append(Problem(file=self.file, line=line, column=column, text=text, hint=hint, trace=trace))

    def add_beside(self, file: str, line: int, text: str) -> None:
        """Adds a problem of another file of the same folder."""
        self.found.append(Problem(file=str(PurePath(self.file).parent / file), line=line, text=text))

    def check(self) -> None:
        """Raises FlowLoadError if anything was found."""
        if self.found:
            raise FlowLoadError(self.found)


def read(path: Path, file: str, bytes_max: int) -> Item:
    """Reads a document.

    Args:
        path: the document.
        file: its name in problems.
        bytes_max: how large it may be.

    Raises:
        FlowLoadError: it cannot be read, is too large, or is no YAML.
    """
    return parse(read_text(path, file, bytes_max), file)


def parse(text: str, file: str) -> Item:
    """Reads a document that is text already; raises like `read`."""
    try:
        node = _Loader(text).get_single_node()
        return Item(value=None, line=1, column=1) if node is None else _Builder().item(node)
    except ReaderError as error:
        raise _failure(file, *_place(text, error.position), "not YAML: it holds a control character") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise _failure(file, *place, f"not YAML: {_sentence(error)}") from None
    except RecursionError:
        raise _failure(file, 0, 0, f"the document nests more than {DEPTH_MAX} deep") from None


def read_text(path: Path, file: str, bytes_max: int) -> str:
    """The text of a file; raises like `read`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(bytes_max + 1)
    except OSError as error:
        raise _failure(file, 0, 0, f"the file cannot be read: {error.strerror}") from None
    if len(data) > bytes_max:
        raise _failure(file, 0, 0, f"the document is larger than {bytes_max} bytes (document_bytes_max)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        raise _failure(file, *_place(before, len(before)), "not YAML: it is not UTF-8") from None


class _Builder:
    """Makes items of YAML's nodes, and counts them."""

    def __init__(self) -> None:
        self._count = 0

    def item(self, node: Node, depth: int = 0) -> Item:
        self._count += 1
        if self._count > VALUES_MAX:
            raise _error(node, f"the document holds more than {VALUES_MAX} values, its aliases written out")
        if depth > DEPTH_MAX:
            raise _error(node, f"the document nests more than {DEPTH_MAX} deep, or refers to itself")
        return Item(value=self._value(node, depth), line=node.start_mark.line + 1, column=node.start_mark.column + 1)

    def _value(self, node: Node, depth: int) -> "Scalar | list[Item] | dict[str, Item]":
        if node.tag not in _TAGS:
            raise _error(node, f"the tag `{node.tag}` is not supported")
        if isinstance(node, SequenceNode):
            return [self.item(child, depth + 1) for child in node.value]
        return self._mapping(node, depth) if isinstance(node, MappingNode) else _scalar(node)

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Item]:
        merged: dict[str, Item] = {}
        own: dict[str, Item] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for source in self._sources(value):
                    merged = {**self._mapping(source, depth + 1), **merged}
                continue
            name = _key(key)
            if name in own:
                raise _error(key, f"the key `{name}` is there twice")
            own[name] = self.item(value, depth + 1)
        return {**merged, **own}

    def _sources(self, node: Node) -> Iterator[MappingNode]:
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            self._count += 1
            if not isinstance(source, MappingNode):
                raise _error(source, "`<<` takes a mapping, or a list of mappings")
            if self._count > VALUES_MAX:
                raise _error(source, f"the document holds more than {VALUES_MAX} values, its aliases written out")
            yield source


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's parser with YAML 1.2's scalars and without its constructors."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)


def _place(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


def _scalar(node: Node) -> Scalar:
    try:
        return _SCALARS[node.tag](node.value)
    except ValueError:
        raise _error(node, f"`{node.value[:50]}` is not of the type that its tag says") from None


def _key(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _error(node, "a key must be a word")
    return str(node.value)


def _int(text: str) -> int:
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bool(text: str) -> bool:
    return text.lower() == "true"


def _null(_: str) -> None:
    return None


def _error(node: Node, text: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def _sentence(error: yaml.MarkedYAMLError) -> str:
    if not error.context:
        return error.problem or "it cannot be read"
    where = f" that begins in line {error.context_mark.line + 1}" if error.context_mark else ""
    return f"{error.context}{where}, {error.problem}"


def _failure(file: str, line: int, column: int, text: str) -> FlowLoadError:
    return FlowLoadError([Problem(file=file, line=line, column=column, text=text)])


_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_SCALARS: Mapping[str, Callable[[str], Scalar]] = {
    f"{_TAG}str": str,
    f"{_TAG}int": _int,
    f"{_TAG}float": _float,
    f"{_TAG}bool": _bool,
    f"{_TAG}null": _null,
}
_TAGS = (*_SCALARS, f"{_TAG}seq", f"{_TAG}map")
_CORE_SCHEMA = (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
    ("merge", r"<<$", ["<"]),
)
for _name, _regex, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(_TAG + _name, pattern(_regex), _first)
