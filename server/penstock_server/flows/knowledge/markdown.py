"""Markdown by its headings (CommonMark 4.2 and 4.3), outside of fenced code; all else stays as it is written."""

import re
from collections.abc import Iterator

from penstock_server.flows.knowledge.chunks import Headings, Section, section

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_NO_PARAGRAPH = re.compile(r"\s*$|\s*[-*+>|#]| {4}|\t|\s*\d+[.)]\s")
_FRONT_MATTER = "---"


def sections(text: str, file: str) -> Iterator[Section]:
    """The sections of a document.

    Args:
        text: the document.
        file: what its beginning is called, where no heading stands above it.
    """
    lines = text.splitlines()
    headings, begun, fence = Headings(file), _after_front_matter(lines), ""
    at = begun
    while at < len(lines):
        fence = _fence(lines[at], fence)
        level, taken, title = (0, 1, "") if fence else _heading(lines, at)
        if level:
            yield from section(headings.title, _numbered(lines, begun, at))
            headings.enter(level, title)
            begun = at + taken
        at += taken
    yield from section(headings.title, _numbered(lines, begun, len(lines)))


def _heading(lines: list[str], at: int) -> tuple[int, int, str]:
    """The level of a heading, how many lines it takes, and its text; level 0 where there is none."""
    if found := _HEADING.match(lines[at]):
        return len(found[1]), 1, (found[2] or "").strip()
    below = _UNDERLINE.match(lines[at + 1]) if at + 1 < len(lines) else None
    above_is_text = at > 0 and not _NO_PARAGRAPH.match(lines[at - 1])
    if below is None or above_is_text or _NO_PARAGRAPH.match(lines[at]):
        return 0, 1, ""
    return (1 if below[1].startswith("=") else 2), 2, lines[at].strip()


def _fence(line: str, fence: str) -> str:
    """The fence that is open after a line; empty where none is."""
    found = _FENCE.match(line)
    if not fence:
        return found[1] if found else ""
    closes = found and found[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence


def _after_front_matter(lines: list[str]) -> int:
    if lines[:1] != [_FRONT_MATTER] or _FRONT_MATTER not in lines[1:]:
        return 0
    return lines.index(_FRONT_MATTER, 1) + 1


def _numbered(lines: list[str], begin: int, end: int) -> Iterator[tuple[int, str]]:
    return ((number + 1, lines[number]) for number in range(begin, end))
