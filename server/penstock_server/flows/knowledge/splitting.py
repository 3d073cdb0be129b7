"""Sections as chunks of a bounded size, each of which repeats the end of the one before."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from penstock_server.flows.knowledge.chunks import Chunk, Section

CHUNK_CHARS_DEFAULT = 1200
CHUNK_CHARS_MIN = 100
CHUNK_CHARS_MAX = 8000
OVERLAP_CHARS_DEFAULT = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """How text is split.

    Raises:
        ValueError: the sizes are out of bounds; it says what they may be.
    """

    chunk_chars: int = CHUNK_CHARS_DEFAULT
    """How long a chunk may be."""
    overlap_chars: int = OVERLAP_CHARS_DEFAULT
    """How much of the chunk before it may repeat."""

    def __post_init__(self) -> None:
        if not CHUNK_CHARS_MIN <= self.chunk_chars <= CHUNK_CHARS_MAX:
            raise ValueError(f"a chunk may have {CHUNK_CHARS_MIN} to {CHUNK_CHARS_MAX} characters")
        if not 0 <= self.overlap_chars <= self.chunk_chars // 4:
            raise ValueError("chunks may overlap by up to a quarter of their size")


def chunks(source: str, sections: Iterable[Section], splitting: Splitting) -> list[Chunk]:
    """The chunks of a document; a chunk never holds text of two sections."""
    pieces = [(each.title, *piece) for each in sections for piece in _pieces(each, splitting)]
    return [
        Chunk(source=source, number=number, line=line, title=title, text=text)
        for number, (title, line, text) in enumerate(pieces)
    ]


def _pieces(section: Section, splitting: Splitting) -> Iterator[tuple[int, str]]:
    """The pieces of a section, each with the line in which it begins."""
    text = "\n".join(line for _, line in section.lines)
    starts = list(accumulate((len(line) + 1 for _, line in section.lines), initial=0))
    begin = 0
    while begin < len(text):
        end = _end(text, begin, begin + splitting.chunk_chars)
        piece = text[begin:end].lstrip()
        if piece:
            yield section.lines[bisect_right(starts, end - len(piece)) - 1][0], piece.rstrip()
        if end == len(text):
            return
        begin = _resumed(text, end - splitting.overlap_chars, end)


def _end(text: str, begin: int, limit: int) -> int:
    """Where a piece ends: after a paragraph, a line, a sentence or a word of its second half; or else at the limit."""
    if limit >= len(text):
        return len(text)
    middle = begin + (limit - begin) // 2
    for mark in ("\n\n", "\n"):
        found = text.rfind(mark, middle, limit)
        if found >= 0:
            return found + len(mark)
    for pattern in (_SENTENCE, _SPACE):
        ends = [found.end() for found in pattern.finditer(text, middle, limit)]
        if ends:
            return ends[-1]
    return limit


def _resumed(text: str, at: int, end: int) -> int:
    """Where the next piece begins: with a sentence or a word, if one begins in what is to be repeated."""
    for pattern in (_SENTENCE, _SPACE):
        found = pattern.search(text, at, end)
        if found is not None and found.end() < end:
            return found.end()
    return at


_SENTENCE = re.compile(r"[.!?;:](?=\s)\s+|[。！？；]\s*|\n+")
_SPACE = re.compile(r"\s+")
