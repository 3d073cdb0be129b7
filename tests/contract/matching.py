"""Compares what a door answered with what a case expects."""

import re
from dataclasses import dataclass, field
from typing import Any

PATTERN = "re:"
"""A text that begins so in a case is a regular expression for the whole of the answer's text."""


@dataclass(kw_only=True)
class Answer:
    """What a door answered, in terms that are the same for all."""

    expected: dict[str, Any]
    """The part of the case that is meant for this door."""
    status: str | int
    headers: dict[str, str] = field(default_factory=dict)
    response: Any = None
    events: list[Any] = field(default_factory=list)
    reason: str = ""
    message: str = ""
    violations: list[str] = field(default_factory=list)
    retry_after: int | None = None


def difference(case: dict[str, Any], got: Answer) -> str:
    """What is not as the case expects it; empty where all is."""
    wanted = got.expected
    checks = [
        ("status", wanted["status"], got.status),
        ("reason", case.get("reason", ""), got.reason),
        *((key, wanted[key], getattr(got, key)) for key in ("response", "events", "message") if key in wanted),
        *(
            (f"header {name}", value, got.headers.get(name.lower()))
            for name, value in wanted.get("headers", {}).items()
        ),
    ]
    if "violations" in case:
        checks.append(("violations", sorted(case["violations"]), sorted(got.violations)))
    if "retry_after" in case:
        checks.append(("retry_after", case["retry_after"], got.retry_after))
    return "; ".join(f"{name}: {found}" for name, want, have in checks if (found := _unlike(want, have)))


def _unlike(want: Any, have: Any) -> str:
    """Objects may hold more than is wanted; everything else is compared whole."""
    if isinstance(want, str) and want.startswith(PATTERN):
        return (
            ""
            if isinstance(have, str) and re.fullmatch(want[len(PATTERN) :], have, re.S)
            else f"{have!r} is not {want}"
        )
    if isinstance(want, dict) and isinstance(have, dict):
        missing = [key for key in want if key not in have and want[key] is not None]
        inner = [f"{key}: {found}" for key in want if key in have and (found := _unlike(want[key], have[key]))]
        return "; ".join([*(f"{key} is missing" for key in missing), *inner])
    if isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        return "; ".join(
            f"[{i}] {found}" for i, (w, h) in enumerate(zip(want, have, strict=True)) if (found := _unlike(w, h))
        )
    return "" if type(want) is type(have) and want == have else f"{have!r} is not {want!r}"
