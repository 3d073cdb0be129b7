"""JSON text to JSON values, with the rules that a parser leaves open."""

import json
import re
from collections.abc import Iterable

import orjson

from penstock.values import InvalidValue

DEPTH_MAX = 100
"""How deep a document may nest, which is where protobuf parsers stop, too."""


def parse(body: bytes) -> object:
    """Reads a JSON document (RFC 8259, UTF-8).

    Raises:
        InvalidValue: it is no JSON, names a key twice in one object, or nests deeper than `DEPTH_MAX`.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if error.msg == _TOO_DEEP:
            raise InvalidValue(f"the JSON nests more than {DEPTH_MAX} deep") from None
        raise InvalidValue(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    # Without a blank before a colon, each key leaves one `":` in the text, and nothing leaves fewer.
    if _count_keys(document) != body.count(b'":') or _SPACED_COLON.search(body):
        json.loads(body, object_pairs_hook=_refuse_duplicates)
    return document


_TOO_DEEP = "depth limit exceeded"
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


def _count_keys(document: object) -> int:
    """How many keys all objects have, level by level, so that no depth is too deep for the stack."""
    keys = 0
    level: Iterable[object] = (document,)
    for _ in range(DEPTH_MAX + 1):
        below: list[object] = []
        for item in level:
            if item.__class__ is dict:
                keys += len(item)
                below.extend(item.values())
            elif item.__class__ is list:
                below.extend(item)
        if not below:
            return keys
        level = below
    raise InvalidValue(f"the JSON nests more than {DEPTH_MAX} deep")


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) == len(pairs):
        return entries
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise InvalidValue(f"the key {twice!r} appears twice in one object")
