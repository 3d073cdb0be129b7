"""The two parts of a `*.prompty` file: YAML between two lines of dashes, and a Jinja template behind them."""

import re
from dataclasses import dataclass
from pathlib import Path

from penstock_server.flows import document
from penstock_server.flows.document import Item
from penstock_server.flows.problems import FlowLoadError, Problem

KEYS = (
    "name", "description", "model", "inputs", "outputs", "sample", "template", "history_rounds_max", "$schema", "api",
    "authors", "tags", "version", "display_name", "language", "environment", "environment_variables", "metadata",
    "type",
)  # fmt: skip
"""The keys of the front matter; those from `$schema` on are taken, and change nothing."""

MODEL_KEYS = ("api", "configuration", "parameters", "response")
"""The keys of `model`."""

SHAPE = "a .prompty file is YAML between two lines of `---`, and a template behind them"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptyDocument:
    """A file, cut in two."""

    front: Item
    """The front matter."""
    body: str
    """The template, behind a comment of as many lines as the front matter has, so that its lines keep their numbers."""


def read(path: Path, file: str, bytes_max: int) -> PromptyDocument:
    """Reads a file.

    Args:
        path: the file.
        file: its name in problems.
        bytes_max: how large it may be.

    Raises:
        FlowLoadError: it cannot be read, is too large, or has another shape.
    """
    text = document.read_text(path, file, bytes_max).replace("\r\n", "\n")
    fences = _FENCE.finditer(text)
    opening, closing = next(fences, None), next(fences, None)
    if opening is None or text[: opening.start()].strip():
        raise _failure(file, 1, f"it does not begin with a line of `---`: {SHAPE}")
    if closing is None:
        line = text.count("\n", 0, opening.start()) + 1
        raise _failure(file, line, f"the front matter does not end: {SHAPE}")
    front = "\n" * text.count("\n", 0, opening.end()) + text[opening.end() : closing.start()]
    body = "{#" + "\n" * text.count("\n", 0, closing.end()) + "#}" + text[closing.end() :]
    return PromptyDocument(front=document.parse(front, file), body=body)


def _failure(file: str, line: int, text: str) -> FlowLoadError:
    return FlowLoadError([Problem(file=file, line=line, text=text)])


_FENCE = re.compile(r"^-{3,}[ \t]*(?:\n|\Z)", re.MULTILINE)
