"""The files that a knowledge base is made of: which there are, and what they say."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from penstock_server.flows.knowledge import html, markdown
from penstock_server.flows.knowledge.chunks import Section, section

FILE_BYTES_MAX = 16 * 1024 * 1024
"""How large a file may be."""


class ReadSections(Protocol):
    """Reads a kind of document."""

    def __call__(self, text: str, file: str) -> Iterable[Section]:
        """The sections; `file` is the title of what has no other."""


def _plain(text: str, file: str) -> list[Section]:
    return section(file, enumerate(text.splitlines(), start=1))


KINDS: Mapping[str, ReadSections] = {
    ".md": markdown.sections,
    ".markdown": markdown.sections,
    ".txt": _plain,
    ".html": html.sections,
    ".htm": html.sections,
}
"""The kinds of documents, by the ends of their names."""


class Unreadable(Exception):
    """A file that cannot be taken in; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file, or a folder, that was left out."""

    source: str
    reason: str


def walk(folder: Path, skipped: list[Skipped]) -> Iterator[str]:
    """The documents under a folder, by their paths from it, in the order of their names.

    Names that begin with a dot, and other kinds of files, do not count. A folder that cannot be read is added to
    `skipped`; a link to a folder is not followed.
    """

    def refused(error: OSError) -> None:
        source = Path(error.filename).relative_to(folder).as_posix()
        skipped.append(Skipped(source=source, reason=_said(error)))

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in KINDS:
                yield Path(place, name).relative_to(folder).as_posix()


def read(folder: Path, source: str) -> bytes:
    """The bytes of a document.

    Raises:
        Unreadable: it is no file of this folder, too large, or cannot be read.
    """
    path = folder / source
    try:
        source.encode()
        if not path.resolve(strict=True).is_relative_to(folder.resolve()):
            raise Unreadable("it leads out of the folder")
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable("it is no file")
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Unreadable(_said(error)) from None
    except UnicodeEncodeError:
        raise Unreadable("its name is not UTF-8") from None
    if len(data) > FILE_BYTES_MAX:
        raise Unreadable(f"it is larger than {FILE_BYTES_MAX // 1024**2} MiB")
    return data


def sections(source: str, data: bytes) -> list[Section]:
    """What a document says.

    Raises:
        Unreadable: it is no text.
    """
    path = Path(source)
    read_sections = KINDS[path.suffix.lower()]
    encoding = (html.declared_encoding(data) if read_sections is html.sections else "") or "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise Unreadable(f"it is not {encoding.removesuffix('-sig').upper()}") from None
    if "\0" in text:
        raise Unreadable("it is no text")
    return list(read_sections(text, path.stem))


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
