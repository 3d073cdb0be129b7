"""`penstock history`: brings conversations in from elsewhere, and tells how much is stored."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from penstock.cli.progress import Progress
from penstock.cli.settings import options, resolve
from penstock.cli.store import opened_for_tool
from penstock_server.config import ServerConfig
from penstock_server.errors import StoreUnavailable
from penstock_server.history.importing.entries import Entry, EntryRefused
from penstock_server.history.importing.importer import Counts, Importer
from penstock_server.history.importing.jsonl import ExportFile
from penstock_server.history.importing.mapping import Mapping, MappingInvalid, parse
from penstock_server.history.importing.rows import Rows
from penstock_server.store.errors import StoreError
from penstock_server.store.sql.imports.foreign import ForeignTable
from penstock_server.store.sql.imports.writing import Imports

STORE_SETTINGS = {"service", "data", "store", "connections", "migrate"}
OTHER_SETTINGS = frozenset(ServerConfig.model_fields) - STORE_SETTINGS
BATCH_TIMEOUT_S = 60.0
"""How long the store may take for a batch: nobody waits for an answer here."""
REFUSALS_SHOWN_MAX = 100

Entries = AsyncGenerator[Entry | EntryRefused]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What the options ask for."""

    dry_run: bool
    skip_errors: bool


@click.group(short_help="Import conversations, and see how much is stored.")
def history() -> None:
    """Import conversations, and see how much is stored."""


@history.command("import", short_help="Add sessions and messages from a file or a foreign table.")
@click.argument("source", required=False, default="", metavar="FILE")
@click.option("--mapping", metavar="FILE", help="YAML that says what the columns of a foreign table mean.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, and write and make nothing.")
@click.option("--skip-errors", is_flag=True, help="Leave out what cannot be imported, instead of stopping there.")
@options(ServerConfig, hidden=OTHER_SETTINGS)
def import_(source: str, mapping: str | None, dry_run: bool, skip_errors: bool, **given: Any) -> None:
    """Add sessions and messages from elsewhere to the store.

    FILE is an export: a JSON object a line, as `GET /v1/messages:export` sends them; `-` reads standard input. With
    --mapping, FILE is an SQLite file or the address of a database (mysql://…, postgresql://…), and may be left out
    where the mapping names it.

    What is there already is left as it is, so an import may be repeated.
    """
    config = resolve(ServerConfig, given, store_timeout_s=BATCH_TIMEOUT_S)
    how = How(dry_run=dry_run, skip_errors=skip_errors)
    if mapping is not None:
        _import_table(config, source, _mapping(mapping), how)
    elif source:
        _import_file(config, source, how)
    else:
        raise click.UsageError("name the file to import, or - for standard input")


@history.command(short_help="Tell how much is stored.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@options(ServerConfig, hidden=OTHER_SETTINGS | {"migrate"})
def stats(as_json: bool, **given: Any) -> None:
    """Tell how many sessions, messages and runs the service's store holds, and how large it is on disk."""
    found = asyncio.run(_stats(resolve(ServerConfig, given, store_timeout_s=BATCH_TIMEOUT_S)))
    if as_json:
        click.echo(json.dumps(found))
        return
    size = found.pop("size_bytes")
    for name, count in found.items():
        click.echo(f"  {name:<9} {count:>15,}")
    click.echo(f"  {'on disk':<9} {size / 2**20:>15,.1f} MiB")


async def _stats(config: ServerConfig) -> dict[str, int]:
    async with opened_for_tool(config, migrate=False) as store:
        try:
            return asdict(await store.retention.stats())
        except StoreUnavailable as failure:
            raise click.ClickException(failure.message) from None


def _import_file(config: ServerConfig, path: str, how: How) -> None:
    try:
        with click.open_file(path, "rb") as file:
            export = ExportFile(file)
            progress = Progress(os.fstat(file.fileno()).st_size, lambda: export.read_bytes)
            asyncio.run(_import(config, _each(export), progress, how))
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    if export.complete is False:
        click.echo(
            "The export ends without its last line, `done`, so it was cut short: what it holds is imported, "
            "and there was more. Export again, and import that too.",
            err=True,
        )


def _import_table(config: ServerConfig, source: str, mapping: Mapping, how: How) -> None:
    source = source or mapping.source
    if not source:
        raise click.UsageError("name the SQLite file or the database's address, or give `source` in the mapping")
    progress = Progress()
    rows = Rows(mapping, progress.show_rows)
    try:
        foreign = ForeignTable(source, mapping.table, mapping.columns.read)
        asyncio.run(_import(config, rows.entries(foreign.rows()), progress, how))
    except StoreError as error:
        raise click.ClickException(str(error)) from None
    if rows.skipped:
        click.echo(f"{rows.skipped:,} rows were left out by their role.")


async def _import(config: ServerConfig, entries: Entries, progress: Progress, how: How) -> None:
    async with opened_for_tool(config, migrate=config.migrate and not how.dry_run) as store:
        target, refused = Imports(store.database, store.tables), _Refusals(skip=how.skip_errors)
        importer = Importer(target, dry_run=how.dry_run, refused=refused, progress=progress.show)
        try:
            await importer.run(entries)
        except EntryRefused as error:
            raise click.ClickException(f"{error}\n{_told(importer.counts, how)} {_STOPPED}") from None
        except StoreUnavailable as failure:
            raise click.ClickException(f"{failure.message}\n{_told(importer.counts, how)} {_AGAIN}") from None
        finally:
            progress.end()
        click.echo(_told(importer.counts, how))


class _Refusals:
    """Shows what cannot be imported, or stops the import there."""

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip
        self._count = 0

    def __call__(self, refusal: EntryRefused) -> None:
        if not self._skip:
            raise refusal
        self._count += 1
        if self._count <= REFUSALS_SHOWN_MAX:
            click.echo(f"left out: {refusal}", err=True)
        elif self._count == REFUSALS_SHOWN_MAX + 1:
            click.echo("left out: more than these; they are counted, and not shown", err=True)


async def _each(export: ExportFile) -> Entries:
    for entry in export:
        yield entry


def _mapping(path: str) -> Mapping:
    try:
        return parse(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"the mapping {path} cannot be read: {error}") from None
    except MappingInvalid as error:
        raise click.UsageError(f"the mapping {path}:\n{error}") from None


def _told(counts: Counts, how: How) -> str:
    verb = "Would import" if how.dry_run else "Imported"
    left_out = f"; {counts.refused:,} could not be imported" if counts.refused else ""
    return (
        f"{verb} {counts.messages:,} messages and {counts.sessions:,} new sessions; "
        f"{counts.present:,} messages were there already{left_out}."
    )


_AGAIN = "Import again when that is mended: what is there is left as it is."
_STOPPED = "Mend it and import again, or leave such lines out with --skip-errors."
