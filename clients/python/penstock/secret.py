"""Secrets: text that is handed on, and never shown."""

import hmac
import threading
from typing import NoReturn

MASK = "**********"
"""What stands where a secret would be shown."""

MASKED_CHARS_MIN = 6
"""Shorter secrets are not looked for in texts: they would be found in words."""

_lock = threading.Lock()
_known: tuple[str, ...] = ()
"""The texts of all secrets of this process, the longest first, for one may hold another."""


def masked(text: str) -> str:
    """The text with every secret in it masked.

    Code that reads a secret may put it anywhere: into an address, into what it prints, into the text of an exception.
    What is recorded, logged or told to callers passes here.
    """
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _remember(text: str) -> None:
    global _known
    if len(text) >= MASKED_CHARS_MIN and text not in _known:
        with _lock:
            _known = tuple(sorted({*_known, text}, key=len, reverse=True))


class Secret:
    """A text that shows itself to no log, no trace, no error and no answer: `reveal` is the only way to it.

    It prints as `MASK` in every format, and is neither JSON nor pickled. `masked` finds it in texts.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        _remember(text)

    def reveal(self) -> str:
        """The text itself, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _: object) -> "Secret":
        return self

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a secret is not pickled")
