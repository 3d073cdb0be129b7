"""HTML by its headings: the text that a browser would show, one line a block."""

import codecs
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from penstock_server.flows.knowledge.chunks import Headings, Section, section

_UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "iframe", "object"})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "li",
    "main", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "td",
    "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z][\w.:-]{1,40})", re.I)
_LEVELS = {f"h{level}": level for level in range(1, 7)}


def sections(text: str, file: str) -> Iterator[Section]:
    """The sections of a document. Where no heading stands above, its `title` does, or else `file`."""
    parser = _Parser(file)
    parser.feed(text)
    parser.close()
    parser.end_section()
    return iter(parser.found)


def declared_encoding(data: bytes) -> str:
    """The encoding that a document names in its first kilobyte (HTML, 4.2.5.4); empty where it is UTF-8 or none."""
    if data.startswith(codecs.BOM_UTF8):
        return ""
    found = _CHARSET.search(data[:1024])
    try:
        name = codecs.lookup(found[1].decode()).name if found else ""
        _ = name and b" ".decode(name)  # Python has codecs of other things than text, too
    except (LookupError, UnicodeError):
        return ""
    return {"utf-8": "", "gb2312": "gb18030", "gbk": "gb18030"}.get(name, name)


class _Parser(HTMLParser):
    def __init__(self, file: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Section] = []
        self._headings = Headings(file)
        self._lines: list[tuple[int, str]] = []
        self._words: list[str] = []
        self._line = 1
        self._level = 0
        self._unseen = ""
        self._is_title = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "title":
            self._is_title = not self._unseen
        elif self._unseen:
            return
        elif tag in _UNSEEN:
            self._end_block()
            self._unseen = tag
        elif tag in _LEVELS:
            self.end_section()
            self._level = _LEVELS[tag]
        elif tag in _BLOCKS:
            self._end_block()

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._is_title = False
        elif self._unseen:
            self._unseen = "" if tag == self._unseen else self._unseen
        elif tag in _LEVELS and self._level:
            self._headings.enter(self._level, self._said())
            self._level = 0
        elif tag in _BLOCKS:
            self._end_block()

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        if tag in _BLOCKS and not self._unseen:
            self._end_block()

    def handle_data(self, data: str) -> None:
        if self._is_title:
            self._headings.enter(0, " ".join(data.split()))
        elif not self._unseen:
            if not any(self._words) and data.strip():
                blank = len(data) - len(data.lstrip())
                self._line = self.getpos()[0] + data.count("\n", 0, blank)
            self._words.append(data)

    def end_section(self) -> None:
        """Takes the lines so far as a section; a heading that was never closed is a line of it."""
        self._level = 0
        self._end_block()
        self.found += section(self._headings.title, self._lines)
        self._lines = []

    def _end_block(self) -> None:
        if self._level:  # a heading may hold blocks; its text is taken at its end
            return
        if said := self._said():
            self._lines.append((self._line, said))

    def _said(self) -> str:
        said = " ".join("".join(self._words).split())
        self._words = []
        return said
