"""What a knowledge base holds: pieces of files."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of a file that is found by itself."""

    source: str
    """The file, by its path from the folder, with `/`."""
    number: int
    """Which one it is of its file, from 0."""
    line: int
    """The line of the file in which it begins, from 1."""
    title: str
    """The headings above it, the outermost first, with ` › ` between them; where there are none, the file's name."""
    text: str

    @property
    def embedded_text(self) -> str:
        """What a model makes a vector of: the headings say what the text is about."""
        return f"{self.title}\n\n{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What stands under one heading."""

    title: str
    lines: tuple[tuple[int, str], ...]
    """Its lines, each with its number in the file."""


class Headings:
    """The headings above the place that a reader of a file has come to."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: dict[int, str] = {}

    def enter(self, level: int, text: str) -> None:
        """A heading, which ends those of its own level and of lower ones."""
        self._open = {each: title for each, title in self._open.items() if each < level}
        if text:
            self._open[level] = text

    @property
    def title(self) -> str:
        """See `Chunk.title`."""
        return " › ".join(self._open.values())[:TITLE_CHARS_MAX] or self._file


def section(title: str, lines: Iterable[tuple[int, str]]) -> list[Section]:
    """A section, or none where there is nothing but space."""
    kept = tuple(lines)
    return [Section(title=title, lines=kept)] if any(text.strip() for _, text in kept) else []


TITLE_CHARS_MAX = 300
