"""Carries entries into a store: in batches, counted, and past those that cannot be imported where that is wanted."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from penstock_server.history.importing.entries import Entry, EntryRefused, ImportedMessage, Written

BATCH_ENTRIES_MAX = 500
"""How many sessions and messages one transaction adds."""
BATCH_CHARS_MAX = 4 * 1024 * 1024
"""How much text may wait for its transaction."""


class Target(Protocol):
    """Where entries go."""

    async def write(self, entries: list[Entry]) -> Written:
        """Adds what is not there yet. Raises StoreUnavailable."""

    async def rehearse(self, entries: list[Entry]) -> Written:
        """What `write` would tell, without writing. Raises StoreUnavailable."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """How far an import has come."""

    sessions: int = 0
    """Those that were new; so with the messages."""
    messages: int = 0
    present: int = 0
    """Messages that were there already."""
    refused: int = 0
    """Lines or rows that could not be imported."""


class Importer:
    """Imports entries.

    Args:
        target: the store.
        dry_run: write nothing, and tell what would be written.
        refused: is told of each entry that cannot be imported; it may raise to end the import. What was read before is
            written then.
        progress: is called after each batch.
    """

    def __init__(
        self,
        target: Target,
        *,
        dry_run: bool,
        refused: Callable[[EntryRefused], None],
        progress: Callable[[Counts], None],
    ) -> None:
        self.counts = Counts()
        self._write = target.rehearse if dry_run else target.write
        self._refused = refused
        self._progress = progress
        self._batch: list[Entry] = []
        self._chars = 0
        self._newest = ""

    async def run(self, entries: AsyncGenerator[Entry | EntryRefused]) -> None:
        """Imports them all, and closes where they come from.

        Raises:
            StoreUnavailable: the store takes nothing. What `counts` tells is committed; the rest may be imported again.
        """
        async with aclosing(entries):
            async for entry in entries:
                await self._take(entry)
        await self._flush()

    async def _take(self, entry: Entry | EntryRefused) -> None:
        if isinstance(entry, EntryRefused):
            await self._flush()
            self._refuse(entry)
            return
        self._batch.append(entry)
        self._chars += len(entry.text) if isinstance(entry, ImportedMessage) else 0
        if len(self._batch) == BATCH_ENTRIES_MAX or self._chars >= BATCH_CHARS_MAX:
            await self._flush()

    async def _flush(self) -> None:
        if not self._batch:
            return
        written = await self._write(self._batch)
        self._batch, self._chars = [], 0
        self._count(written)
        self._progress(self.counts)
        for refusal in written.refused:
            self._refuse(refusal)

    def _count(self, written: Written) -> None:
        # A rehearsal does not remember the last batch, which may have begun the session that this one goes on with.
        self.counts.sessions += sum(session != self._newest for session in written.sessions)
        self.counts.messages += written.messages
        self.counts.present += written.present
        if written.sessions:
            self._newest = written.sessions[-1]

    def _refuse(self, refusal: EntryRefused) -> None:
        self.counts.refused += 1
        self._refused(refusal)
