"""The `sample` of a document: inputs that its author shows to callers."""

import re
from collections.abc import Mapping
from pathlib import Path

from penstock.values import InvalidValue
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.placeholders import file_value
from penstock_server.flows.problems import ProblemFound
from penstock_server.flows.results import jsonable


def sample_of(item: Item | None, folder: Path, problems: Problems) -> Mapping[str, object] | None:
    """The sample inputs; None where there are none.

    They stand under `inputs`, or are the sample itself; prompt flow takes the name of a JSON file of the folder as
    well, `sample.json` or `file:sample.json`.
    """
    if item is None or (item.get("inputs") is None and item.get("init") is not None):
        return None
    inputs = item.get("inputs") or item
    try:
        value = _read(inputs.plain(), folder)
        if not isinstance(value, dict):
            raise ProblemFound("must be a mapping of inputs to values, or name a JSON file of the folder")
        shown = jsonable(value)
    except ProblemFound as error:
        problems.add(inputs, f"`sample`: {error.text}")
        return None
    except InvalidValue as error:
        problems.add(inputs, f"`sample` cannot be shown to callers: {error}")
        return None
    assert isinstance(shown, dict)  # noqa: S101 - so was the value
    return shown


def _read(value: object, folder: Path) -> object:
    """The sample, or what the file holds that it names. The environment is no part of it: callers see it."""
    found = _FILE.fullmatch(value) if isinstance(value, str) else None
    return file_value(found["name"], folder) if found else value


_FILE = re.compile(r"(?:\$\{file:(?=.*\}))?(?:file:)?(?P<name>[^{}]+\.json)\}?")
