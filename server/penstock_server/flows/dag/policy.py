"""How often a node is tried, and for how long."""

import random
from dataclasses import dataclass
from math import isfinite

from penstock.flow import InvalidInput
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.problems import did_you_mean

ATTEMPTS_MAX = 20
"""How many attempts a node may have."""

SECONDS_MAX = 86_400
"""How long a timeout or a pause may be."""

BACKOFF_MAX_S = 60.0
"""How long the pause between two attempts grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What follows an attempt that failed."""

    attempts: int = 1
    """How many there are in all."""
    backoff_s: float = 1.0
    """The pause after the first attempt; each further one is twice as long, up to `BACKOFF_MAX_S`."""
    on: frozenset[str] = frozenset({"Exception"})
    """The classes of errors that are worth another attempt, by their names, with or without their modules."""

    def pause_s(self, attempt: int) -> float:
        """How long to wait after an attempt, counted from 1: between half of the backoff and all of it, by chance."""
        longest: float = min(self.backoff_s * 2 ** (attempt - 1), BACKOFF_MAX_S)
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, hides nothing

    def is_worth(self, error: BaseException, attempt: int) -> bool:
        """Whether another attempt follows; never one where the flow has refused its inputs."""
        if attempt >= self.attempts or isinstance(error, InvalidInput):
            return False
        kinds = type(error).__mro__
        return any(kind.__name__ in self.on or f"{kind.__module__}.{kind.__qualname__}" in self.on for kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits of a node."""

    timeout_s: float | None = None
    """How long one attempt may take; the time that readers of a stream take does not count."""
    retry: Retry

    @property
    def is_plain(self) -> bool:
        """Whether there is one attempt, of any length."""
        return self.timeout_s is None and self.retry.attempts == 1


def read(node: str, item: Item, problems: Problems) -> Policy:
    """Reads `timeout_s` and `retry` of a node."""
    timeout = item.get("timeout_s")
    return Policy(
        timeout_s=None if timeout is None else _seconds(f"node `{node}`: `timeout_s`", timeout, problems),
        retry=_retry(f"node `{node}`: `retry`", item.get("retry"), problems),
    )


def _retry(what: str, item: Item | None, problems: Problems) -> Retry:
    if item is None:
        return Retry()
    if not isinstance(item.value, dict):
        problems.add(item, f"{what} must be a mapping", hint="retry: {attempts: 3}")
        return Retry()
    for key, entry in item.entries().items():
        if key not in _RETRY_KEYS:
            problems.add(entry, f"{what} has no `{key}`", hint=did_you_mean(key, _RETRY_KEYS))
    attempts, backoff, on = (item.get(key) for key in _RETRY_KEYS)
    given: dict[str, object] = {}
    if attempts is None:
        problems.add(item, f"{what} needs `attempts`, which counts the first one too")
    elif type(attempts.value) is not int or not 1 <= attempts.value <= ATTEMPTS_MAX:
        problems.add(attempts, f"{what}: `attempts` must be a whole number from 1 to {ATTEMPTS_MAX}")
    else:
        given["attempts"] = attempts.value
    if backoff is not None:
        given["backoff_s"] = _seconds(f"{what}: `backoff_s`", backoff, problems, least=0.0)
    if on is not None:
        given["on"] = _names(f"{what}: `on`", on, problems)
    return Retry(**given)  # type: ignore[arg-type]


def _names(what: str, item: Item, problems: Problems) -> frozenset[str]:
    found = item.plain()
    names = found if isinstance(found, list) else [found]
    if not names or not all(isinstance(name, str) and name for name in names):
        problems.add(item, f"{what} must be a list of the names of exceptions", hint="on: [TimeoutError]")
        return frozenset()
    return frozenset(names)


def _seconds(what: str, item: Item, problems: Problems, *, least: float = 0.001) -> float:
    value = item.value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        problems.add(item, f"{what} must be a number of seconds")
    elif not least <= value <= SECONDS_MAX:
        problems.add(item, f"{what} must be between {least:g} and {SECONDS_MAX} seconds")
    else:
        return float(value)
    return 1.0


_RETRY_KEYS = ("attempts", "backoff_s", "on")
