"""The settings of models that flows may give, and the forms in which YAML gives them.

The names are those of the protocol, and so those of prompt flow's LLM tools; its way of reading them is kept, too: a
number may be text, lists and objects may be JSON, and what is empty is not given.
"""

import json
from collections.abc import Callable, Mapping
from math import isfinite, nan


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else nan
    except ValueError:
        number = nan
    if not isfinite(number):
        raise ValueError("must be a number")
    return number


def _count(value: object) -> object:
    number = _number(value)
    if not number.is_integer():
        raise ValueError("must be a whole number")
    return int(number)


def _flag(value: object) -> object:
    if str(value).lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return str(value).lower() == "true"


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value


def _json(value: object) -> object:
    parsed = json.loads(value) if isinstance(value, str) else value
    if not isinstance(parsed, (dict, list)):
        raise ValueError("must be an object or a list")
    return parsed


def _object(value: object) -> object:
    if not isinstance(parsed := _json(value), dict):
        raise ValueError("must be an object")
    return parsed


def _list(value: object) -> object:
    if not isinstance(parsed := _json(value), list):
        raise ValueError("must be a list")
    return parsed


def _choice(value: object) -> object:
    """A word such as `auto`, or an object that names a tool."""
    return value if isinstance(value, str) and value.isalpha() else _object(value)


def _stops(value: object) -> object:
    return value if isinstance(value, str) and not value.lstrip().startswith("[") else _list(value)


def _logprobs(value: object) -> object:
    return _flag(value) if str(value).lower() in ("true", "false") else _count(value)


Read = Callable[[object], object]

_COMMON: Mapping[str, Read] = {
    "temperature": _number,
    "top_p": _number,
    "n": _count,
    "stop": _stops,
    "max_tokens": _count,
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "logit_bias": _object,
    "logprobs": _logprobs,
    "user": _text,
    "seed": _count,
    "extra_body": _object,
}
CHAT: Mapping[str, Read] = {
    **_COMMON,
    "max_completion_tokens": _count,
    "reasoning_effort": _text,
    "response_format": _object,
    "tools": _list,
    "tool_choice": _choice,
    "parallel_tool_calls": _flag,
    "functions": _list,
    "function_call": _choice,
}
"""The settings of a chat. `extra_body` holds what only some servers know."""
TEXT: Mapping[str, Read] = {**_COMMON, "suffix": _text, "echo": _flag, "best_of": _count}
"""The settings of a completion."""

EMBEDDING: Mapping[str, Read] = {"dimensions": _count, "user": _text, "extra_body": _object}
"""The settings of embeddings."""

APIS = {"chat": CHAT, "completion": TEXT}
"""The two protocols, with their settings."""

WITH_TOOLS = frozenset({"tools", "functions"})
"""Settings with which the answer may be a call rather than a text."""

RESERVED = frozenset({"model", "messages", "prompt", "input", "encoding_format", "stream", "stream_options"})
"""What a request holds already."""

_ENDLESS = ("inf", "infinity")
"""What prompt flow's editor writes for no `max_tokens`."""


def read(given: Mapping[str, object], known: Mapping[str, Read]) -> dict[str, object]:
    """The settings as the protocol takes them; those that are empty are left out.

    Raises:
        ValueError: one has no such form; the text names it.
    """
    found: dict[str, object] = {}
    for name, value in given.items():
        if value in (None, "", {}) or (name == "max_tokens" and str(value).lower() in _ENDLESS):
            continue
        try:
            found[name] = known[name](value)
        except ValueError as error:
            said = "must be JSON" if isinstance(error, json.JSONDecodeError) else error
            raise ValueError(f"`{name}` {said}") from None
    extra = found.pop("extra_body", {})
    assert isinstance(extra, dict)  # noqa: S101 - so it was read
    if taken := RESERVED & extra.keys():
        raise ValueError(f"`extra_body` cannot hold `{min(taken)}`")
    return {**found, **extra}
