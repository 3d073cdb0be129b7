"""What the code of a flow may import: `tool`, `InvalidInput`, `Image`, `File` and the call that is being answered.

This module stands alone: it needs nothing but the standard library, so a flow's code can be run and tested without a
server.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

from penstock.media import File, Image

__all__ = ["Call", "File", "Image", "InvalidInput", "current_call", "tool"]

P = ParamSpec("P")
R = TypeVar("R")

TOOL_ATTRIBUTE = "__penstock_tool__"
"""The attribute that `tool` leaves on a function: the keyword arguments of the decorator, as a dict."""


class InvalidInput(Exception):
    """Raise it in a flow to refuse the caller's inputs.

    The call ends with INVALID_ARGUMENT (HTTP 400) and this message. Name the input where it is one that is at fault.
    """

    def __init__(self, message: str, *, input: str = "") -> None:
        super().__init__(message)
        self.input = input


class Call(NamedTuple):
    """The call that a flow is answering."""

    run: str
    """The run's id."""
    flow: str
    """The flow's id."""
    session: str
    """The conversation's id; the server assigned one if the caller named none."""
    user: str = ""
    """The `Chat-User-Id` that the caller sent; empty if it sent none."""


current_call: ContextVar[Call] = ContextVar("penstock_call")
"""The call in whose run the current code executes; set by the server, in threads too."""


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tool(**options: Any) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Marks the function that a Python node executes. Used bare, `@tool`, or with options, `@tool(name="search")`."""

    def mark(marked: Callable[P, R]) -> Callable[P, R]:
        setattr(marked, TOOL_ATTRIBUTE, options)
        return marked

    return mark if function is None else mark(function)
