"""Marks that tell what the author of a template wrote from what a value brought in.

Before a template is compiled, each of its lines that gives a message its role is put between marks. The marks hold a
secret that lives as long as the process, so no value can contain one: text that comes from a value never becomes a
role, whatever it looks like. A template may also let a value name the role, `{{item.role}}:`; then it is one of those
that give no orders: `user`, `assistant`, `function` or `tool`.
"""

import re
import secrets
from collections.abc import Iterable, Iterator

from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

ROLES = ("system", "developer", "user", "assistant", "function", "tool")
"""The roles that a line of a template may name."""

VALUE_ROLES = ("user", "assistant", "function", "tool")
"""The roles that a value may name."""

HEADERS = ("name", "content", "tool_calls", "tool_call_id")
"""What may follow a role's line, each in a line of its own: `## name:`."""

_SECRET = f"\0{secrets.token_hex(16)}"
WRITTEN = f"{_SECRET}w"
"""Begins a line that the author wrote in full."""
NAMED = f"{_SECRET}n"
"""Begins a role's line that a value names."""
IMAGE = f"{_SECRET}i"
"""Begins the number of an image."""
END = f"{_SECRET}e"
"""Ends each of them."""

MARKED = re.compile(f"({WRITTEN}|{NAMED}|{IMAGE})(.*?){END}", re.DOTALL)
"""What stands between marks: which mark began it, and the text."""


def is_marked(text: str) -> bool:
    """Whether something in the text is marked."""
    return _SECRET in text


def unmarked(text: str) -> str:
    """The text without its marks."""
    return _ANY_MARK.sub("", text) if _SECRET in text else text


class RoleLines(Extension):
    """Puts marks around the lines of a template that name a role, or a header of a message."""

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        """See `jinja2.ext.Extension.filter_stream`."""
        return _marked(list(stream))


def _marked(tokens: list[Token]) -> Iterator[Token]:
    written = ""
    """What the author wrote of the line so far; a value in it counts as something written."""
    place = 0
    while place < len(tokens):
        token = tokens[place]
        colon = _colon_after_role(tokens, place) if _LINE_START.match(written) else None
        if colon:
            following, found = colon
            yield Token(token.lineno, "data", NAMED)
            yield from tokens[place:following]
            yield Token(token.lineno, "data", f"{found.group()}{END}")
            rest = tokens[following]
            tokens[following] = Token(rest.lineno, "data", rest.value[found.end() :])
            written, place = "", following
            continue
        if token.type == "data":
            yield Token(token.lineno, "data", _mark(token.value, starts_line=not written.strip()))
            written = token.value.rpartition("\n")[2] if "\n" in token.value else written + token.value
        else:
            yield token
            written += "…" if token.type == "variable_end" else ""
        place += 1


def _mark(text: str, *, starts_line: bool) -> str:
    pattern = _LINE if starts_line else _LATER_LINE
    return pattern.sub(lambda found: f"{WRITTEN}{found.group()}{END}", text)


def _colon_after_role(tokens: list[Token], begin: int) -> tuple[int, re.Match[str]] | None:
    """Where `{{ … role … }}` begins here and a colon ends the line: the place of the text after it, and the colon."""
    if tokens[begin].type != "variable_begin":
        return None
    end = next((place for place in range(begin, len(tokens)) if tokens[place].type == "variable_end"), len(tokens)) + 1
    if end >= len(tokens) or tokens[end].type != "data":
        return None
    names_role = any(token.type in ("name", "string") and token.value == "role" for token in tokens[begin:end])
    found = _COLON.match(tokens[end].value) if names_role else None
    return (end, found) if found else None


_WORD_LINE = rf"[ \t]*#{{0,2}}[ \t]*(?:{'|'.join((*ROLES, *HEADERS))})[ \t]*:[ \t]*\n"
_LINE = re.compile(f"^{_WORD_LINE}", re.IGNORECASE | re.MULTILINE)
_LATER_LINE = re.compile(rf"(?<=\n){_WORD_LINE}", re.IGNORECASE)
_LINE_START = re.compile(r"[ \t]*#?[ \t]*\Z")
_COLON = re.compile(r"[ \t]*:[ \t]*\n")
_ANY_MARK = re.compile(f"{_SECRET}[wnie]")
