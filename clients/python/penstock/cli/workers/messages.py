"""What a supervisor and a worker say to each other: a line of JSON each way, over a socket that only they have.

Settings hold secrets, and anybody on the machine can read a process's arguments.
"""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter

from penstock.cli.lifetime import Announcement
from penstock.cli.service import Service

BYTES_MAX = 1024 * 1024
"""How long a message may be."""

Message = TypeVar("Message", "Orders", "Report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker is to serve, with what it inherits."""

    number: int
    """From 1 on. A worker that takes the place of another has its number."""
    service: Service
    http: tuple[int, ...]
    """Handles of the bound sockets for HTTP."""
    possession: tuple[int, ...]
    """Handles that keep the store from other supervisors, for as long as one worker has them open."""

    @property
    def handles(self) -> tuple[int, ...]:
        """All that a worker inherits."""
        return (*self.http, *self.possession)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a worker's start went."""

    announcement: Announcement | None = None
    """What it has to tell, if it is ready."""
    failure: str = ""
    """Why it is not, for people."""


def encoded(message: Message) -> bytes:
    """The message as a line."""
    return TypeAdapter(type(message)).dump_json(message) + b"\n"


def decoded(kind: type[Message], line: bytes) -> Message:
    """The message that a line holds."""
    return TypeAdapter(kind).validate_json(line)
