"""Path templates of `google.api.http`.

    Template = "/" Segments [ Verb ] ;         Segment  = "*" | "**" | LITERAL | Variable ;
    Segments = Segment { "/" Segment } ;       Variable = "{" FieldPath [ "=" Segments ] "}" ;
    Verb     = ":" LITERAL ;                   FieldPath = IDENT { "." IDENT } ;

A bare "/" is accepted, too: it is the root of a service that answers there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

ANY = "*"
REST = "**"


class InvalidTemplate(ValueError):
    """A template that does not follow the grammar."""


class InvalidPath(ValueError):
    """A path that matches, but whose escapes are not those of UTF-8 text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A part of the path that is bound to a field."""

    field: tuple[str, ...]
    """The path of the field, such as `("options", "on_disconnect")`."""
    start: int
    """The first of the segments that it takes."""
    count: int
    """How many segments of the template it takes."""
    multi: bool
    """It may take more than one segment of a path, so `%2F` stays encoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A parsed path template."""

    segments: tuple[str, ...]
    """Literals, `*` and `**`; the last `**` stands for zero or more segments."""
    variables: tuple[Variable, ...]
    verb: str
    """The literal after the last colon; empty where there is none."""

    @property
    def shape(self) -> tuple[str, ...]:
        """What two templates must differ in to be told apart."""
        return (*self.segments, ":" + self.verb)

    def bind(self, segments: list[str]) -> list[tuple[tuple[str, ...], str]]:
        """The values of the variables in the raw segments of a path that matches.

        Raises:
            InvalidPath: a value's escapes are not UTF-8.
        """
        surplus = len(segments) - len(self.segments)
        bound = []
        for variable in self.variables:
            end = variable.start + variable.count
            if end == len(self.segments) and self.segments and self.segments[-1] == REST:
                end += surplus
            raw = "/".join(segments[variable.start : end])
            bound.append((variable.field, _decode(raw, variable.multi)))
        return bound

    def fill(self, values: Sequence[str]) -> str:
        """The path that binds these values to the variables, percent-encoded where it must be."""
        return self.write([quote(v, safe="/" if each.multi else "") for each, v in self._each(values)])

    def write(self, texts: Sequence[str]) -> str:
        """The path with these texts in the places of the variables, as they are."""
        segments = list(self.segments)
        # From the last on, so that the places of the others still hold.
        for variable, text in reversed(self._each(texts)):
            segments[variable.start : variable.start + variable.count] = [text]
        return "/" + "/".join(segments) + (f":{self.verb}" if self.verb else "")

    @property
    def has_unbound_wildcards(self) -> bool:
        """A part of its paths is free, and no variable takes it."""
        taken = {place for each in self.variables for place in range(each.start, each.start + each.count)}
        return any(text in (ANY, REST) and place not in taken for place, text in enumerate(self.segments))

    def _each(self, texts: Sequence[str]) -> list[tuple[Variable, str]]:
        return list(zip(self.variables, texts, strict=True))


def parse(text: str) -> Template:
    """Parses a template.

    Raises:
        InvalidTemplate: it does not follow the grammar; the message says where.
    """
    if not text.startswith("/"):
        raise InvalidTemplate(f"{text!r} does not start with a slash")
    body, verb = _split_verb(text[1:])
    parser = _Parser(text, body)
    parser.parse()
    return Template(segments=tuple(parser.segments), variables=tuple(parser.variables), verb=verb)


_IDENT = r"[A-Za-z_][A-Za-z0-9_]*"
_PART = re.compile(rf"\{{(?P<field>{_IDENT}(?:\.{_IDENT})*)(?:=(?P<inner>[^{{}}]*))?\}}|(?P<plain>[^/{{}}]+)")
# What RFC 3986 lets stand in a segment, less `*` (a wildcard here) and `:` (the verb's mark).
_LITERAL = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()+,;=@]|%[0-9A-Fa-f]{2})+")


class _Parser:
    def __init__(self, text: str, body: str) -> None:
        self.text = text
        self.body = body
        self.segments: list[str] = []
        self.variables: list[Variable] = []

    def parse(self) -> None:
        position = 0
        while position < len(self.body):
            part = _PART.match(self.body, position)
            if part is None:
                raise self._wrong(f"cannot be read from {self.body[position:]!r} on")
            self._add(part)
            position = part.end()
            if position < len(self.body):
                position = self._slash(position)
        self._check()

    def _slash(self, position: int) -> int:
        if self.body[position] != "/" or position + 1 == len(self.body):
            raise self._wrong(f"cannot be read from {self.body[position:]!r} on")
        return position + 1

    def _add(self, part: "re.Match[str]") -> None:
        if part["field"] is None:
            self.segments.append(self._segment(part["plain"]))
            return
        inner = [self._segment(piece) for piece in (part["inner"] if part["inner"] is not None else ANY).split("/")]
        self.variables.append(
            Variable(
                field=tuple(part["field"].split(".")),
                start=len(self.segments),
                count=len(inner),
                multi=inner != [ANY] and (len(inner) > 1 or inner == [REST]),
            )
        )
        self.segments.extend(inner)

    def _segment(self, piece: str) -> str:
        if piece in (ANY, REST) or _LITERAL.fullmatch(piece):
            return piece
        raise self._wrong(f"{piece!r} is not a segment")

    def _check(self) -> None:
        if REST in self.segments[:-1]:
            raise self._wrong("`**` must be the last segment")
        fields = [variable.field for variable in self.variables]
        for field in fields:
            if fields.count(field) > 1:
                raise self._wrong(f"the field {'.'.join(field)} is bound twice")

    def _wrong(self, why: str) -> InvalidTemplate:
        return InvalidTemplate(f"the path template {self.text!r} is not valid: {why}")


def _split_verb(body: str) -> tuple[str, str]:
    head, colon, verb = body.rpartition(":")
    if not colon or "}" in verb or "/" in verb:
        return body, ""
    if not _LITERAL.fullmatch(verb):
        raise InvalidTemplate(f"the path template {'/' + body!r} is not valid: {verb!r} is not a verb")
    return head, verb


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SLASH = re.compile(r"(%2[Ff])")


def _decode(raw: str, multi: bool) -> str:
    if "%" not in raw and raw.isascii():
        return raw
    if _BAD_ESCAPE.search(raw):
        raise InvalidPath(f"{raw!r} holds a percent sign that starts no escape; send it as %25")
    try:
        if not multi:
            return unquote_to_bytes(raw).decode()
        # A decoded %2F could not be told from a slash between segments.
        return "".join(p if p in ("%2F", "%2f") else unquote_to_bytes(p).decode() for p in _SLASH.split(raw))
    except UnicodeError:
        raise InvalidPath(f"{raw!r} is not percent-encoded UTF-8") from None
