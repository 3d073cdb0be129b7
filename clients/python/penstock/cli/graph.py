"""`penstock graph`: a flow as a picture, drawn from its document alone."""

from pathlib import Path

import click

from penstock_server.flows import document
from penstock_server.flows.dag import mermaid, reader
from penstock_server.flows.document import Problems
from penstock_server.flows.loader import PROMPTY, document_of
from penstock_server.flows.problems import FlowLoadError, ProblemFound
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.valuetypes import text_of


@click.command(short_help="Draw a flow as a Mermaid flowchart.")
@click.argument("flow", metavar="FLOW")
def graph(flow: str) -> None:
    """Draw a flow as a Mermaid flowchart, which Markdown viewers show as a picture.

    FLOW is a folder or module:callable, as for `penstock serve`. No code of the flow is imported.
    """
    try:
        click.echo(_drawn(flow))
    except FlowLoadError as error:
        raise click.ClickException(f"the flow cannot be drawn:\n{error}") from None
    except ProblemFound as error:
        raise click.ClickException(f"the flow cannot be drawn:\n{error.at(flow)}") from None


def _drawn(target: str) -> str:
    path = document_of(target)
    if path is None:
        return mermaid.one_step(target, "callable")
    if path.suffix == PROMPTY:
        return mermaid.one_step(path.stem, "prompty")
    if path.name != "flow.dag.yaml":
        return _drawn_step(path)
    problems = Problems(str(path))
    declared = reader.read(_read(path), problems)
    problems.check()
    return mermaid.flowchart(declared)


def _drawn_step(path: Path) -> str:
    return mermaid.one_step(text_of(_read(path).get("entry")) or path.stem, "flex")


def _read(path: Path) -> document.Item:
    return document.read(path, str(path), FlowSettings().document_bytes_max)
