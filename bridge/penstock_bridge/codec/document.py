"""JSON text to JSON values, with the rules that a parser leaves open."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import orjson

from penstock.values import TOO_MANY_VALUES, VALUES_MAX, InvalidValue

DEPTH_MAX = 100
"""How deep a document may nest, which is where protobuf parsers stop, too."""

DOCUMENT_VALUES_MAX = VALUES_MAX + 1000
"""How many values a document may hold: what one field of a request may, and the fields around it."""


class TooManyValues(InvalidValue):
    """A document that holds more than `DOCUMENT_VALUES_MAX` values; it was not parsed, so no place in it is named."""

    def __init__(self) -> None:
        super().__init__(TOO_MANY_VALUES)


def parse(body: bytes) -> object:
    """Reads a JSON document (RFC 8259, UTF-8).

    Raises:
        InvalidValue: it is no JSON, names a key twice in one object, or nests deeper than `DEPTH_MAX`.
        TooManyValues: what parsing costs depends on the values and not on the bytes, so they are counted before.
    """
    check_values(body)
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


def check_values(body: bytes) -> None:
    """Raises TooManyValues where a document, or several with commas between them, would hold too many values."""
    if len(body) > DOCUMENT_VALUES_MAX and _has_too_many_values(body):
        raise TooManyValues


_TOO_DEEP = "depth limit exceeded"
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


def _has_too_many_values(body: bytes) -> bool:
    # Each value follows one of three characters, but texts and empty containers have them, too.
    if body.count(b",") + body.count(b"[") + body.count(b"{") <= DOCUMENT_VALUES_MAX:
        return False
    return next(islice(_UP_TO_VALUE.finditer(body), DOCUMENT_VALUES_MAX + _LEFTOVERS, None), None) is not None


_UP_TO_VALUE = re.compile(
    rb"""(?: [^"\[{,]++ | "[^"\\]*+(?:\\.[^"\\]*+)*+" | [\[{][ \t\r\n]*+[\]}] )*+  # anything else, text, what is empty
         (?: [\[{,] | .*+ )""",
    re.DOTALL | re.VERBOSE,
)
"""No part of it gives back what it took, and it matches what is left at the end: each byte is read once."""
_LEFTOVERS = 2
"""How often it matches at the end, where no value follows."""


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
    counts = Counter(name for name, _ in pairs)
    twice = next(name for name, count in counts.items() if count > 1)
    raise InvalidValue(f"the key {twice!r} appears twice in one object")
