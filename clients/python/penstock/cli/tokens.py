"""The bearer tokens that a server knows: given, read from a file, or made."""

import re
import secrets
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import click

TOKEN_FORM = re.compile(r"[\x21-\x7e]+")
MADE_TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a server is started with."""

    known: tuple[str, ...]
    """The tokens; empty where callers need none."""
    made: bool = False
    """Whether none was given, so that one was made for this start."""


def resolve(tokens: tuple[str, ...], tokens_file: str, *, auth: bool, addresses: list[str]) -> Tokens:
    """The tokens of a server that listens on these addresses.

    Raises:
        click.UsageError: a token cannot be sent in a header, the file cannot be read, or a server without tokens would
            listen to other machines.
    """
    if not auth:
        refuse_unless_local(addresses)
        return Tokens(())
    known = (*tokens, *(_read(tokens_file) if tokens_file else ()))
    for token in known:
        if not TOKEN_FORM.fullmatch(token):
            raise click.UsageError("a token holds something else than printable ASCII without spaces")
    return Tokens(known) if known else Tokens((secrets.token_urlsafe(MADE_TOKEN_BYTES),), made=True)


def refuse_unless_local(addresses: list[str]) -> None:
    """Keeps what lets every caller in on this machine.

    Raises:
        click.UsageError: one of the addresses can be reached from other machines.
    """
    for address in addresses:
        if not _is_local(address):
            raise click.UsageError(
                f"--no-auth lets every caller in, so it is accepted on loopback only, and not on {address}; "
                "listen on 127.0.0.1, or leave --no-auth out"
            )


def _read(path: str) -> list[str]:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"the file of tokens cannot be read: {error}") from None
    tokens = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not tokens:
        raise click.UsageError(f"the file {path} holds no token")
    return tokens


def _is_local(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    if address.startswith("unix:") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
