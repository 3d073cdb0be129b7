"""`penstock knowledge`: what flows may look up."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from penstock.cli.settings import options, resolve
from penstock_server.config import ServerConfig
from penstock_server.errors import Failure
from penstock_server.flows.connections import connections as loading
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.knowledge import build as building
from penstock_server.flows.knowledge.build import Build, Wanted
from penstock_server.flows.knowledge.indexing import Outcome
from penstock_server.flows.knowledge.knowledge import Knowledge
from penstock_server.flows.knowledge.manifest import Manifest, Shelf
from penstock_server.flows.knowledge.splitting import CHUNK_CHARS_DEFAULT, OVERLAP_CHARS_DEFAULT, Splitting
from penstock_server.flows.knowledge.store import TOP_K_DEFAULT, TOP_K_MAX, Filters, Hit, Query
from penstock_server.flows.models.models import Models
from penstock_server.flows.problems import FlowLoadError, ProblemFound
from penstock_server.flows.threads import Threads

T = TypeVar("T")

OFFERED = frozenset({"connections", "data", "model_timeout_s"})
"""Settings that say where things lie, and how long to wait."""
SHOWN_CHARS = 200
"""How much of a chunk a search prints."""

_flow = click.option(
    "--flow",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The folder of a flow that has a connections.yaml of its own.",
)
_settings = options(ServerConfig, hidden=frozenset(ServerConfig.model_fields) - OFFERED)


@click.group(short_help="Build and search what flows may look up.")
def knowledge() -> None:
    """Knowledge bases: documents in pieces, which nodes of the type `retrieval` find.

    They lie in the data folder. Without an embedding model, pieces are found by their words; with one, by what they
    mean.
    """


@knowledge.command(short_help="Take in what is new in a folder.")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--connection", help="The connection to an embedding model. Without one, words are looked for.")
@click.option("--model", help="The embedding model.")
@click.option("--dimensions", type=click.IntRange(1, 32_768), help="How many numbers to ask the model for.")
@click.option("--store", help="The connection to a Milvus server. Without one, vectors lie in the data folder.")
@click.option("--chunk-chars", type=int, help=f"How long a piece may be.  [default: {CHUNK_CHARS_DEFAULT}]")
@click.option("--overlap-chars", type=int, help=f"How much it may repeat.  [default: {OVERLAP_CHARS_DEFAULT}]")
@_flow
@_settings
def build(
    name: str,
    folder: Path,
    connection: str | None,
    model: str | None,
    dimensions: int | None,
    store: str | None,
    chunk_chars: int | None,
    overlap_chars: int | None,
    flow: Path | None,
    **given: Any,
) -> None:
    """Build the knowledge base NAME of the Markdown, text and HTML in FOLDER, or bring it up to date.

    What has not changed is left as it is, and what is gone is removed. Files that cannot be read are named and skipped.
    A build that was broken off is taken up again by the next one.
    """
    config = resolve(ServerConfig, given)
    wanted = Wanted(
        connection=connection,
        model=model,
        dimensions=dimensions,
        store=store,
        splitting=_splitting(chunk_chars, overlap_chars),
    )

    async def run() -> Outcome:
        models = Models(silence_timeout_s=config.model_timeout_s)
        try:
            with click.progressbar(length=1, label=name, file=sys.stderr) as bar:
                work = Build(_shelf(config), _connections(config, flow), models, _progress(bar))
                return await work.run(name, folder, wanted)
        finally:
            await models.close()

    click.echo(_told(name, _done(run)))


@knowledge.command("list", short_help="List the knowledge bases.")
@_settings
def list_(**given: Any) -> None:
    """List the knowledge bases of the data folder."""
    shelf = _shelf(resolve(ServerConfig, given))
    names = shelf.names
    if not names:
        click.echo("there are no knowledge bases: penstock knowledge build NAME FOLDER makes one", err=True)
    for name in names:
        try:
            click.echo(_line(shelf.read(name)))
        except ProblemFound as error:
            click.echo(f"{name}  {error.text} ({error.hint})")


@knowledge.command(short_help="Show what a knowledge base holds about something.")
@click.argument("name")
@click.argument("query")
@click.option("--top-k", type=click.IntRange(1, TOP_K_MAX), default=TOP_K_DEFAULT, show_default=True, help="How many.")
@click.option("--source", multiple=True, help="Only this file, or with a / at its end this folder.")
@_flow
@_settings
def search(name: str, query: str, top_k: int, source: tuple[str, ...], flow: Path | None, **given: Any) -> None:
    """Show what the knowledge base NAME holds about QUERY, the best first: score, place, title and text."""
    config = resolve(ServerConfig, given)

    async def work() -> list[Hit]:
        models, threads = Models(silence_timeout_s=config.model_timeout_s), Threads(1).share(name)
        found = Knowledge(Path(config.data), _connections(config, flow), models, threads)
        try:
            return await found.of(name).search(Query(text=query, top_k=top_k, filters=Filters(source=source)))
        finally:
            await threads.close(name, 0)
            await asyncio.to_thread(found.close)
            await models.close()

    for hit in _done(work):
        chunk = hit.chunk
        text = " ".join(chunk.text.split())
        shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
        click.echo(f"{hit.score:.3f}  {chunk.source}:{chunk.line}  {chunk.title}\n       {shown}")


@knowledge.command(short_help="Remove a knowledge base.")
@click.argument("name")
@_flow
@_settings
def drop(name: str, flow: Path | None, **given: Any) -> None:
    """Remove the knowledge base NAME with its index. The documents stay."""
    config = resolve(ServerConfig, given)

    async def work() -> None:
        await asyncio.to_thread(building.drop, name, _shelf(config), _connections(config, flow))

    _done(work)
    click.echo(f"{name} is removed")


def _done(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    try:
        return asyncio.run(work())
    except ProblemFound as error:
        raise click.ClickException(f"{error.text} ({error.hint})" if error.hint else error.text) from None
    except Failure as error:
        raise click.ClickException(error.message) from None


def _shelf(config: ServerConfig) -> Shelf:
    return Shelf(Path(config.data))


def _connections(config: ServerConfig, flow: Path | None) -> Connections:
    try:
        return loading.load(flow, explicit=config.connections, data=Path(config.data))
    except FlowLoadError as error:
        raise click.ClickException(f"the connections cannot be read:\n{error}") from None


def _splitting(chunk_chars: int | None, overlap_chars: int | None) -> Splitting | None:
    if chunk_chars is None and overlap_chars is None:
        return None
    size = CHUNK_CHARS_DEFAULT if chunk_chars is None else chunk_chars
    try:
        overlap = min(OVERLAP_CHARS_DEFAULT, size // 4) if overlap_chars is None else overlap_chars
        return Splitting(chunk_chars=size, overlap_chars=overlap)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _progress(bar: Any) -> Callable[[int, int], None]:
    def tell(done: int, files: int) -> None:
        bar.length = files
        bar.update(done - bar.pos)

    return tell


def _told(name: str, outcome: Outcome) -> str:
    for each in outcome.skipped:
        source = each.source if each.source.isprintable() else ascii(each.source)
        click.echo(f"skipped {source}: {each.reason}", err=True)
    counts = f"{outcome.indexed} indexed, {outcome.unchanged} unchanged, {outcome.removed} removed"
    return f"{name}: {counts}, {len(outcome.skipped)} skipped; {outcome.chunks} chunks"


def _line(manifest: Manifest) -> str:
    how = f"{manifest.model} ({manifest.dimensions} dimensions)" if manifest.model else "keywords"
    broken = "" if manifest.is_complete else "  a build was broken off: build again"
    return f"{manifest.name}  {len(manifest.files)} files  {manifest.chunks} chunks  {how}  {manifest.folder}{broken}"
