"""What a docstring says of a flow and of its inputs."""

import inspect
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Docstring:
    """A docstring in Google's or Sphinx's form."""

    description: str
    """The text before the first section."""
    inputs: dict[str, str]
    """What is said of each parameter."""


def parse(text: str | None) -> Docstring:
    """Reads a docstring; a form that it does not know is all description."""
    lines = inspect.cleandoc(text or "").splitlines()
    end = next((index for index, line in enumerate(lines) if _SECTION.match(line)), len(lines))
    return Docstring(
        description="\n".join(lines[:end]).strip(),
        inputs={**_google(lines[end:]), **_sphinx(lines[end:])},
    )


def docstring_of(target: Any, function: Any) -> Docstring:
    """The docstring of a callable: a function's own, or that of an instance's class with its `__call__`'s inputs."""
    own = parse(getattr(function, "__doc__", None))
    if inspect.isroutine(target):
        return own
    of_class = parse(_class_doc(type(target)))
    return Docstring(description=of_class.description or own.description, inputs={**of_class.inputs, **own.inputs})


def _class_doc(cls: type) -> str | None:
    text = cls.__dict__.get("__doc__")
    made_by_dataclass = isinstance(text, str) and text.startswith(f"{cls.__name__}(")
    return None if made_by_dataclass or not isinstance(text, str) else text


def _google(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    inside = False
    for line in lines:
        if _SECTION.match(line):
            inside = line.rstrip(": ").lower() in _INPUT_SECTIONS
            continue
        entry = _ENTRY.match(line)
        if inside and entry:
            name = entry["name"]
            found[name] = entry["text"].strip()
        elif inside and name and line.startswith(_CONTINUED):
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def _sphinx(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        field = _FIELD.match(line)
        if field:
            name = field["name"] or ""
            if name:
                found[name] = field["text"].strip()
        elif name and line.startswith(" "):
            found[name] = f"{found[name]} {line.strip()}".strip()
        else:
            name = ""
    return found


_INPUT_SECTIONS = ("args", "arguments", "parameters")
_SECTION = re.compile(
    r"(args|arguments|parameters|returns?|yields?|raises|attributes|examples?|notes?)\s*:\s*$|:\w+[^:]*:", re.IGNORECASE
)
_ENTRY = re.compile(r" {1,4}(?P<name>\w+)\s*(\([^)]*\))?\s*:\s*(?P<text>.*)$")
_CONTINUED = "     "
_FIELD = re.compile(r":(param(?:eter)?\s+(?:[^:]*\s)?(?P<name>\w+)|\w+[^:]*)\s*:\s*(?P<text>.*)$")
