"""What the code of a node prints, kept in the node's record and passed through."""

import sys
import threading
from contextvars import ContextVar
from typing import Any, TextIO

from penstock.secret import masked


class NodeLog:
    """What one execution of a node printed, up to a number of bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._room = bytes_max
        self._parts: list[str] = []
        self._is_open = True

    def write(self, text: str) -> None:
        """Keeps the text as far as there is room."""
        if not self._is_open or self._room < 0:
            return
        data = text.encode(errors="replace")
        kept = data[: self._room].decode(errors="ignore")
        self._room -= len(data)
        self._parts.append(kept if self._room >= 0 else f"{kept}\n… the rest is not kept\n")

    def close(self) -> str:
        """Ends the log and returns it, its secrets masked; what the node's code prints later is passed through only."""
        self._is_open = False
        return masked("".join(self._parts))


def capture(log: NodeLog) -> None:
    """Directs what the current context prints, and what it starts, to `log` as well."""
    _install()
    _current.set(log)


class _Tee:
    """A standard stream that also writes to the log of the current context; in all else it is the stream itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        log = _current.get()
        if log is None or getattr(_writing, "is_inside", False):
            return self._stream.write(text)
        log.write(text)
        _writing.is_inside = True
        try:
            return self._stream.write(text)
        finally:
            _writing.is_inside = False

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _install() -> None:
    """Puts the streams in place; again, if somebody has replaced them meanwhile, perhaps by one that leads to ours."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and type(stream) is not _Tee:
            setattr(sys, name, _Tee(stream))


_writing = threading.local()
"""Whether the thread is inside a write of ours already."""
_current: ContextVar[NodeLog | None] = ContextVar("penstock_node_log", default=None)
