"""`penstock check`: everything that keeps flows from being served, at once."""

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Any

import click

from penstock.cli.flows import flows_argument, settings_of
from penstock.cli.settings import options, resolve
from penstock_server.config import ServerConfig
from penstock_server.flows.flow import Flow
from penstock_server.flows.loader import load_all
from penstock_server.flows.problems import FlowLoadError, Problem

OFFERED = frozenset({"connections", "data"})
"""Settings that decide what a flow finds when it is loaded."""


@click.command(short_help="Print every problem of flows, each with its place.")
@flows_argument
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON, for programs.")
@options(ServerConfig, hidden=frozenset(ServerConfig.model_fields) - OFFERED)
def check(flows: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Print every problem of flows, each with its file, line and column, and what to do about it.

    FLOW is a folder or module:callable, as for `penstock serve`. Code of the flows is imported, and nothing is
    executed. The exit code is 1 where there are problems.
    """
    problems = _problems(flows, resolve(ServerConfig, given))
    click.echo(_json(problems) if as_json else _text(problems, flows))
    sys.exit(1 if problems else 0)


def _problems(targets: Sequence[str], config: ServerConfig) -> Sequence[Problem]:
    try:
        with redirect_stdout(sys.stderr):  # what code of the flows prints is no problem
            flows = load_all(targets, settings=settings_of(config))
    except FlowLoadError as error:
        return _in_reading_order(error.problems)
    asyncio.run(_close(flows))
    return ()


def _in_reading_order(problems: Sequence[Problem]) -> Sequence[Problem]:
    """The problems of each file together, from its beginning to its end."""
    files = list(dict.fromkeys(each.file for each in problems))
    return sorted(problems, key=lambda each: (files.index(each.file), each.line, each.column))


async def _close(flows: Sequence[Flow]) -> None:
    for flow in flows:
        await flow.close()


def _text(problems: Sequence[Problem], targets: Sequence[str]) -> str:
    if not problems:
        return f"{', '.join(targets)}: no problems"
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([*map(str, problems), "", count])


def _json(problems: Sequence[Problem]) -> str:
    return json.dumps({"problems": [asdict(each) for each in problems]}, ensure_ascii=False, indent=2)
