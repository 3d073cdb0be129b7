"""The work of a build: files that changed take the place of what the index has of them."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from penstock_server.flows.knowledge import documents
from penstock_server.flows.knowledge.chunks import Chunk
from penstock_server.flows.knowledge.documents import Skipped, Unreadable
from penstock_server.flows.knowledge.embedder import Embedder
from penstock_server.flows.knowledge.manifest import Indexed, Manifest, Shelf
from penstock_server.flows.knowledge.splitting import Splitting, chunks
from penstock_server.flows.knowledge.store import Store

BATCH_CHUNKS = 256
"""How many chunks are embedded and inserted at a time."""
FILES_AT_ONCE = 50
"""How many small files are taken in together, and told as progress."""

Progress = Callable[[int, int], None]
"""Told how many of the files are done, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a build did."""

    indexed: int
    unchanged: int
    removed: int
    skipped: tuple[Skipped, ...]
    """What could not be read; of what was in the index before, nothing was changed."""
    chunks: int
    """How many there are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A file that is new or another one."""

    source: str
    digest: str
    chunks: Sequence[Chunk]


class Indexing:
    """What a build does once everything is there.

    Args:
        shelf: where the manifest is kept.
        manifest: the knowledge base as it is.
        folder: the folder of its files.
        store: its index, open.
        embedder: what makes vectors; None where words are looked for.
        skipped: what could not be read so far; more is added.
    """

    def __init__(
        self,
        shelf: Shelf,
        manifest: Manifest,
        folder: Path,
        store: Store,
        embedder: Embedder | None,
        skipped: list[Skipped],
    ) -> None:
        self._shelf = shelf
        self._manifest = manifest
        self._folder = folder
        self._store = store
        self._embedder = embedder
        self._skipped = skipped
        self._files = dict(manifest.files)
        self._unchanged = self._indexed = 0

    async def run(self, sources: Sequence[str], progress: Progress) -> Outcome:
        """Brings the index up to date with the files that there are. Raises as `Build.run` does."""
        self._save()
        removed = await self._remove(sources)
        for begin in range(0, len(sources), FILES_AT_ONCE):
            batch: list[_Change] = []
            for source in sources[begin : begin + FILES_AT_ONCE]:
                change = await asyncio.to_thread(self._changed, source)
                batch += [change] if change else []
                if sum(len(each.chunks) for each in batch) >= BATCH_CHUNKS:
                    await self._take(batch)
                    batch = []
            await self._take(batch)
            progress(min(begin + FILES_AT_ONCE, len(sources)), len(sources))
        return Outcome(
            indexed=self._indexed,
            unchanged=self._unchanged,
            removed=removed,
            skipped=tuple(self._skipped),
            chunks=self._manifest.chunks,
        )

    async def _remove(self, sources: Sequence[str]) -> int:
        """Removes the files that are gone; of a folder that cannot be read nobody knows that."""
        unknown = tuple("" if each.source == "." else f"{each.source}/" for each in self._skipped)
        gone = [each for each in self._files.keys() - set(sources) if not each.startswith(unknown)]
        if gone:
            await asyncio.to_thread(self._store.delete, gone)
            for source in gone:
                del self._files[source]
            self._save()
        return len(gone)

    def _changed(self, source: str) -> _Change | None:
        try:
            data = documents.read(self._folder, source)
            digest = _digest(data, self._manifest.splitting)
            known = self._files.get(source)
            if known is not None and known.digest == digest:
                self._unchanged += 1
                return None
            found = chunks(source, documents.sections(source, data), self._manifest.splitting)
        except Unreadable as error:
            self._skipped.append(Skipped(source=source, reason=str(error)))
            return None
        return _Change(source=source, digest=digest, chunks=found)

    async def _take(self, batch: Sequence[_Change]) -> None:
        """Puts changed files in the place of what the index has of them."""
        if not batch:
            return
        taken = [chunk for change in batch for chunk in change.chunks]
        is_first = True
        for begin in range(0, max(len(taken), 1), BATCH_CHUNKS):
            part = taken[begin : begin + BATCH_CHUNKS]
            vectors = await self._embedder.vectors([each.embedded_text for each in part]) if self._embedder else []
            if is_first:  # what is wrong with the model is known by now, before anything is lost
                await self._begin(batch)
                is_first = False
            if part:  # documents may be empty
                await asyncio.to_thread(self._store.insert, part, vectors)
        for change in batch:
            self._files[change.source] = Indexed(digest=change.digest, chunks=len(change.chunks))
        self._indexed += len(batch)
        self._save()

    async def _begin(self, batch: Sequence[_Change]) -> None:
        known = [change.source for change in batch if change.source in self._files]
        for change in batch:
            self._files[change.source] = Indexed(digest="", chunks=0)
        self._save()
        if known:
            await asyncio.to_thread(self._store.delete, known)

    def _save(self) -> None:
        self._manifest = replace(self._manifest, files=dict(self._files))
        self._shelf.write(self._manifest)


def _digest(data: bytes, splitting: Splitting) -> str:
    """Of all that the chunks of a file follow from."""
    sizes = f"{splitting.chunk_chars},{splitting.overlap_chars};"
    return hashlib.blake2b(sizes.encode() + data, digest_size=20).hexdigest()
