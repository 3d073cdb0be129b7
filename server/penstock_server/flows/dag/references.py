"""References: strings such as `${inputs.question}` or `${search.output.hits[0]}` that stand for a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from penstock_server.flows.problems import ProblemFound, listed


@dataclass(frozen=True, slots=True)
class Key:
    """`.name`: a key of a mapping, or an attribute of anything else."""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """`['name']` or `[0]`: an item."""

    name: str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a value comes from: an input of the flow, or what a node returned."""

    text: str
    """As the author wrote it."""
    input: str = ""
    """The input; empty where it is a node."""
    node: str = ""
    """The node; empty where it is an input."""
    field: str = ""
    """The field of the node's result that the reference names in place of `output`; it is the first step, too."""
    steps: tuple[Key | Index, ...] = ()
    """The way from the whole to the value."""

    def of(self, whole: object) -> object:
        """The value, found in the whole that the input or the node has given.

        Raises:
            LookupError: there is nothing at this place; its text says where the way ends.
        """
        value = whole
        for step in self.steps:
            value = _step(value, step, self.text)
        return value


def parse(text: object) -> Reference | None:
    """The reference that a value is; None for a literal, which anything is but a whole string `${…}`.

    Raises:
        ProblemFound: it has the form of a reference, and makes no sense.
    """
    found = _REFERENCE.match(text) if isinstance(text, str) else None
    if found is None:
        return None
    name, steps = _parts(found.group(1).strip(), found.group())
    if name in ("inputs", "flow"):
        if not steps or not isinstance(steps[0].name, str):
            raise ProblemFound(f"`{found.group()}` names no input", hint="write ${inputs.name}")
        return Reference(text=found.group(), input=steps[0].name, steps=steps[1:])
    if not steps or steps[0] == Key("output"):
        return Reference(text=found.group(), node=name, steps=steps[1:])
    if not isinstance(steps[0], Key):
        raise ProblemFound(f"`{found.group()}` names no output of a node", hint=f"write ${{{name}.output[…]}}")
    return Reference(text=found.group(), node=name, field=steps[0].name, steps=steps)


def _parts(body: str, text: str) -> tuple[str, tuple[Key | Index, ...]]:
    name = _NAME.match(body)
    if name is None:
        raise ProblemFound(f"`{text}` names neither an input nor a node")
    steps: list[Key | Index] = []
    place = name.end()
    while place < len(body):
        step = _STEP.match(body, place)
        if step is None:
            hint = "after the name come .key, ['key'] and [0]"
            raise ProblemFound(f"`{text}` cannot be read from `{body[place:]}` on", hint=hint)
        steps.append(_read_step(step))
        place = step.end()
    return name.group().strip(), tuple(steps)


def _read_step(step: re.Match[str]) -> Key | Index:
    if step["key"] is not None:
        return Key(step["key"])
    return Index(int(step["index"])) if step["index"] is not None else Index(step["single"] or step["double"] or "")


def _step(value: object, step: Key | Index, text: str) -> object:
    try:
        if isinstance(step, Key) and not isinstance(value, Mapping):
            return getattr(value, step.name)
        return value[step.name]  # type: ignore[index]
    except (LookupError, AttributeError, TypeError):
        raise LookupError(f"{text}: there is no `{step.name}` in {_shown(value)}") from None


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return f"an object that has: {listed([str(key) for key in value])}" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return "null" if value is None else f"a {type(value).__name__}"


_REFERENCE = re.compile(r"\$\{([^{}]*)\}\Z")
_NAME = re.compile(r"[^.\[\]'\"]+")
_STEP = re.compile(r"\.(?P<key>[^.\[\]'\"]+)|\.?\[(?:(?P<index>-?\d+)|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\")\]")
