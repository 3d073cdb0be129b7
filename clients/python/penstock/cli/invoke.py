"""`penstock invoke`: calls a running service from the shell."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from penstock.client import Client
from penstock.errors import PenstockError
from penstock.status import Code
from penstock.v1 import run_pb2
from penstock.values import DEPTH_MAX, InvalidValue, from_struct

EXIT_FAILED = 1
CANCEL_TIMEOUT_S = 5.0
"""How long Ctrl-C waits for the run's work to stop."""


@click.command(short_help="Call a flow of a running service.")
@click.argument("flow", required=False, default="")
@click.option("--target", envvar="PENSTOCK_GRPC", default="127.0.0.1:50051", show_default=True, metavar="HOST:PORT")
@click.option("--token", envvar=["PENSTOCK_TOKEN", "PENSTOCK_TOKENS"], default="", help="The bearer token.")
@click.option("--session", default="", metavar="ID", help="The conversation that the call belongs to.")
@click.option("--user", default="", metavar="ID", help="The conversation's owner.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=TEXT", help="An input, instead of JSON on stdin.")
@click.option("--stream", is_flag=True, help="Print the answer while it is made.")
@click.option("--timeout-s", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="The deadline.")
def invoke(
    flow: str,
    target: str,
    token: str,
    session: str,
    user: str,
    inputs: tuple[str, ...],
    stream: bool,
    timeout_s: float | None,
) -> None:
    """Call a flow of a running service: the default flow, or FLOW.

    The inputs are a JSON object on standard input, or --input NAME=TEXT. The outputs are printed as JSON; with
    --stream, text is printed as it arrives, and other outputs as JSON lines. A stream goes on where it was when its
    connection is cut, and Ctrl-C cancels the run.
    """
    given = _inputs(inputs)
    try:
        with _client(target, token=token.split(",")[0], session=session, user=user) as client:
            if stream:
                _print_stream(client, given, flow, timeout_s)
            else:
                run = client.invoke(given, flow=flow, timeout_s=timeout_s)
                click.echo(json.dumps(from_struct(run.outputs), ensure_ascii=False, indent=2))
    except PenstockError as error:
        unreachable = error.code is Code.UNAVAILABLE and not error.reason
        hint = f"\nIs a service running at {target}? --target names another." if unreachable else ""
        click.echo(f"Error: {error}{hint}", err=True)
        sys.exit(EXIT_FAILED)
    except InvalidValue as error:
        raise click.UsageError(f"the call cannot be sent: {error}") from None


def _client(target: str, **carried: str) -> Client:
    try:
        return Client(target, **carried)
    except InvalidValue as error:
        raise click.UsageError(f"--{error}") from None


def _inputs(pairs: tuple[str, ...]) -> Mapping[str, Any]:
    if pairs:
        for pair in pairs:
            if "=" not in pair:
                raise click.UsageError(f"--input {pair!r} is not of the form NAME=TEXT")
        return dict(pair.split("=", 1) for pair in pairs)
    if sys.stdin.isatty():
        raise click.UsageError("pipe a JSON object with the inputs into the command, or give --input NAME=TEXT")
    try:
        inputs = json.load(sys.stdin)
    except ValueError as error:
        raise click.UsageError(f"standard input is not JSON: {error}") from None
    except RecursionError:
        raise click.UsageError(f"standard input nests more than {DEPTH_MAX} deep, too deep for inputs") from None
    if not isinstance(inputs, dict):
        raise click.UsageError("standard input is not a JSON object: its keys are the flow's inputs")
    return inputs


def _print_stream(client: Client, inputs: Mapping[str, Any], flow: str, timeout_s: float | None) -> None:
    in_line = False
    run = ""
    try:
        for event in client.stream(inputs, flow=flow, timeout_s=timeout_s):
            if event.HasField("run_started"):
                run = event.run_started.run
            elif event.HasField("output_delta"):
                in_line = _print_delta(event, in_line)
    except KeyboardInterrupt:
        if run:
            client.cancel(run, timeout_s=CANCEL_TIMEOUT_S)
        raise
    finally:
        if in_line:
            click.echo()


def _print_delta(event: run_pb2.RunEvent, in_line: bool) -> bool:
    outputs = from_struct(event.output_delta.outputs)
    texts = [value for value in outputs.values() if isinstance(value, str)]
    if len(outputs) == len(texts) == 1:
        click.echo(texts[0], nl=False)
        return True
    click.echo(("\n" if in_line else "") + json.dumps(outputs, ensure_ascii=False))
    return False
