"""Finds the route of a raw path: exact paths by a dict, the others by a tree of their segments."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from penstock_bridge.templates import ANY, REST, Template

T = TypeVar("T")

Found = tuple[T, list[str]]
"""A target, and the raw segments of the path that led there."""


class Conflict(ValueError):
    """Two routes that no request could tell apart."""


@dataclass(slots=True)
class _Node(Generic[T]):
    children: "dict[str, _Node[T]]" = field(default_factory=dict)
    rest: "_Node[T] | None" = None
    targets: dict[str, dict[str, T]] = field(default_factory=dict)
    """By verb, then by HTTP method."""


class Router(Generic[T]):
    """Targets by path template and HTTP method.

    A literal wins over `*`, and `*` over `**`. A `:verb` that any template ends with is never part of a variable: an
    id that ends so sends its colon as `%3A`. Paths are matched as sent, escapes and all.
    """

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, T]] = {}
        self._root: _Node[T] = _Node()
        self._verbs: set[str] = set()

    def add(self, method: str, template: Template, target: T) -> None:
        """Adds a target.

        Raises:
            Conflict: the same path and HTTP method lead elsewhere already.
        """
        node = self._root
        for segment in template.segments:
            node = _step(node, segment)
        methods = node.targets.setdefault(template.verb, {})
        if method in methods:
            raise Conflict(f"{method} {_shown(template)} leads to two methods")
        methods[method] = target
        if template.verb:
            self._verbs.add(template.verb)
        if not template.variables and ANY not in template.segments and REST not in template.segments:
            self._exact[_shown(template)] = methods

    def find(self, method: str, path: str) -> Found[T] | None:
        """The target of a request; None where there is none."""
        methods = self._exact.get(path)
        if methods is not None and method in methods:
            return methods[method], []
        segments, verb = self._split(path)
        for methods in _walk(self._root, segments, 0, verb):
            if method in methods:
                return methods[method], segments
        return None

    def allowed(self, path: str) -> list[str]:
        """The HTTP methods that the path has, sorted; empty where the path leads nowhere."""
        segments, verb = self._split(path)
        return sorted({method for methods in _walk(self._root, segments, 0, verb) for method in methods})

    def _split(self, path: str) -> tuple[list[str], str]:
        segments = path[1:].split("/") if path != "/" else []
        if not segments:
            return segments, ""
        head, colon, verb = segments[-1].rpartition(":")
        if not colon or verb not in self._verbs:
            return segments, ""
        segments[-1] = head
        return segments, verb


def _step(node: _Node[T], segment: str) -> _Node[T]:
    if segment == REST:
        node.rest = node.rest or _Node()
        return node.rest
    return node.children.setdefault(segment, _Node())


def _walk(node: _Node[T], segments: list[str], index: int, verb: str) -> Iterator[dict[str, T]]:
    if index == len(segments):
        if verb in node.targets:
            yield node.targets[verb]
    elif segments[index]:
        literal = node.children.get(segments[index])
        if literal is not None and segments[index] != ANY:
            yield from _walk(literal, segments, index + 1, verb)
        wildcard = node.children.get(ANY)
        if wildcard is not None:
            yield from _walk(wildcard, segments, index + 1, verb)
    if node.rest is not None and verb in node.rest.targets and all(segments[index:]):
        yield node.rest.targets[verb]


def _shown(template: Template) -> str:
    return "/" + "/".join(template.segments) + (f":{template.verb}" if template.verb else "")
