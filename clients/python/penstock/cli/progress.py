"""How far an import has come, on standard error: one line that changes on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable

import click

from penstock_server.history.importing.importer import Counts

TERMINAL_INTERVAL_S = 0.2
FILE_INTERVAL_S = 10.0


class Progress:
    """Shows counts, not too often.

    Args:
        size: how much there is to read, in bytes; 0 where that is not known.
        read: how much has been read.
    """

    def __init__(self, size: int = 0, read: Callable[[], int] = lambda: 0) -> None:
        self._size = size
        self._read = read
        self._terminal = sys.stderr.isatty()
        self._start_s = self._shown_s = time.monotonic()
        self._shown = False

    def show_rows(self, count: int) -> None:
        """Shows how many rows of a table have been read, of which none is imported before all are."""
        if self._due():
            self._show(f"{count:,} rows read")

    def show(self, counts: Counts) -> None:
        """Shows them, if the last were shown some time ago."""
        if self._due():
            messages = counts.messages + counts.present
            share = f"{min(1.0, self._read() / self._size):4.0%}  " if self._size else ""
            self._show(f"{share}{messages:,} messages, {messages / (self._shown_s - self._start_s):,.0f}/s")

    def _due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._shown_s < (TERMINAL_INTERVAL_S if self._terminal else FILE_INTERVAL_S):
            return False
        self._shown_s = now_s
        return True

    def _show(self, line: str) -> None:
        self._shown = True
        click.echo(f"\r\033[K{line}" if self._terminal else line, err=True, nl=not self._terminal)

    def end(self) -> None:
        """Leaves the line behind."""
        if self._shown and self._terminal:
            click.echo("", err=True)
