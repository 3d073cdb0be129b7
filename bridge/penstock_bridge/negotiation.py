"""Content negotiation (RFC 9110 §12.5.1)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from penstock.status import Code
from penstock_bridge.errors import Problem, problem

JSON = "application/json"
FORM = "multipart/form-data"
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRange:
    """One member of an Accept header."""

    type: str
    subtype: str
    parameters: tuple[tuple[str, str], ...]
    quality: float

    @property
    def specificity(self) -> int:
        """How exact it is; of the ranges that match, the most exact one counts."""
        if self.type == "*":
            return 0
        return 1 if self.subtype == "*" else 2 + len(self.parameters)

    def matches(self, media_type: str) -> bool:
        """Whether it names this type. All of ours are UTF-8 and have no other parameter."""
        type_, _, subtype = media_type.partition("/")
        if self.type not in ("*", type_) or self.subtype not in ("*", subtype):
            return False
        return all(parameter == ("charset", "utf-8") for parameter in self.parameters)


def choose(accept: str | None, offers: tuple[str, ...]) -> str:
    """The offer that the caller prefers; among equals the one named more exactly, then the first.

    Args:
        accept: the header; several are joined by commas. None or empty accepts everything.
        offers: media types, the server's favourite first.

    Raises:
        Problem: NOT_ACCEPTABLE, no offer is acceptable.
    """
    if not accept or accept == "*/*":
        return offers[0]
    best = _best(accept, offers) if len(accept) <= _CACHED_LENGTH_MAX else _best.__wrapped__(accept, offers)
    if best is None:
        raise _not_acceptable(offers)
    return best


_CACHED_LENGTH_MAX = 256


# A service sees few different headers, and parsing one costs as much as the rest of a call's routing.
@lru_cache(maxsize=256)
def _best(accept: str, offers: tuple[str, ...]) -> str | None:
    ranges = list(_parse(accept))
    ranked = [(_rank(ranges, offer), -index, offer) for index, offer in enumerate(offers)]
    (quality, _), _, offer = max(ranked, default=((0.0, 0), 0, ""))
    return offer if quality > 0 else None


def _rank(ranges: Sequence[MediaRange], offer: str) -> tuple[float, int]:
    matching = [media_range for media_range in ranges if media_range.matches(offer)]
    if not matching:
        return 0.0, 0
    exact = max(matching, key=lambda media_range: media_range.specificity)
    return exact.quality, exact.specificity


_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ONE_PARAMETER = rf"[ \t]*;[ \t]*(?:({_WORD})=({_WORD}|{_QUOTED}))?"
_PARAMETER = re.compile(_ONE_PARAMETER)
_RANGE = re.compile(rf"[ \t]*(?P<type>{_WORD})/(?P<subtype>{_WORD})(?P<parameters>(?:{_ONE_PARAMETER})*)[ \t]*")
_MEMBER = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def _parse(accept: str) -> Iterator[MediaRange]:
    """The members that are well formed; others say nothing that could be honoured."""
    for member in _members(accept):
        match = _RANGE.fullmatch(member)
        if match is None:
            continue
        parsed = _media_range(match)
        if parsed is not None:
            yield parsed


def _members(accept: str) -> Iterator[str]:
    """Splits at the commas that are not within quotes."""
    return (match.group() for match in _MEMBER.finditer(accept))


def _media_range(match: "re.Match[str]") -> MediaRange | None:
    type_, subtype = match["type"].lower(), match["subtype"].lower()
    if type_ == "*" and subtype != "*":
        return None
    quality, parameters = 1.0, []
    for name, text in _PARAMETER.findall(match["parameters"]):
        name, value = name.lower(), _unquoted(text)
        if not name:
            continue
        if name != "q":
            parameters.append((name, value.lower()))
        elif _QUALITY.fullmatch(value):
            quality = float(value)
        else:
            return None
    return MediaRange(type=type_, subtype=subtype, parameters=tuple(parameters), quality=quality)


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _not_acceptable(offers: tuple[str, ...]) -> Problem:
    return problem(
        Code.INVALID_ARGUMENT, "NOT_ACCEPTABLE", f"This path answers with {' or '.join(offers)}; `Accept` allows none"
    )
