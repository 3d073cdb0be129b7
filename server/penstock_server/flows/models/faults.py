"""What goes wrong with models, as the failures that callers are told."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import openai

from penstock.connections import Connection
from penstock.secret import masked
from penstock_server.errors import Failure, ModelRefused, UpstreamUnavailable
from penstock_server.flows.models.events import EVENT_BYTES_MAX, EventTooLarge

httpx: Any = import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The HTTP library of the SDK: `httpx2`, or in older versions `httpx`. What it raises amid a stream passes the SDK."""

QUOTED_CHARS_MAX = 300
"""How much of what a server says is passed on."""

_WAIT = {408, 409, 425, 429}
"""Statuses below 500 with which another try may help."""
_FILTERS = {"content_filter", "data_inspection_failed", "DataInspectionFailed"}
_CONTEXT = re.compile(r"context[ _](?:length|window)|maximum context|prompt is too long|range of input length", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who was asked: what a failure names."""

    connection: Connection
    model: str
    silence_timeout_s: float

    def unavailable(self, what: str, *, retry_after_s: float | None = None) -> UpstreamUnavailable:
        """The failure for something with which another try may help; `what` goes on from the model's name."""
        return UpstreamUnavailable(self._text(what), metadata=self._metadata(), retry_after_s=retry_after_s)

    def refused(self, what: str) -> ModelRefused:
        """The failure for something with which another try would not help."""
        return ModelRefused(self._text(what), metadata=self._metadata())

    @property
    def host(self) -> str:
        """Where the connection leads."""
        return urlsplit(str(self.connection.base_url or "https://api.openai.com")).netloc

    def quoted(self, text: object) -> str:
        """What a server or a library said, to be passed on: in one line, short, and without the key."""
        plain = masked(" ".join(str(text or "").split()))
        return plain if len(plain) <= QUOTED_CHARS_MAX else f"{plain[:QUOTED_CHARS_MAX]}…"

    def _text(self, what: str) -> str:
        where = f"connection `{self.connection.name}`" if self.connection.name else self.host
        return f"the model `{self.model}` of {where} {what}" if self.model else f"{where} {what}"

    def _metadata(self) -> dict[str, str]:
        return {"connection": self.connection.name, "model": self.model}


@contextmanager
def translated(asked: Asked) -> Iterator[None]:
    """Raises what the SDK and its HTTP library raise as failures. They carry no cause: it would hold the request."""
    try:
        yield
    except (TimeoutError, openai.APITimeoutError, httpx.TimeoutException):
        raise asked.unavailable(f"said nothing for {asked.silence_timeout_s:g} s (model_timeout_s)") from None
    except openai.APIConnectionError as error:
        cause = error.__cause__
        detail = f" ({type(cause).__name__}: {asked.quoted(cause)})" if cause else ""
        raise asked.unavailable(f"cannot be reached at {asked.host}{detail}") from None
    except openai.APIStatusError as error:
        body = error.body if isinstance(error.body, Mapping) else {"message": None}
        raise of_error(asked, body, error.status_code, retry_after_s(error.response.headers)) from None
    except httpx.RequestError:
        raise asked.unavailable("broke off in the middle of its answer") from None
    except EventTooLarge:
        raise asked.unavailable(f"sent an event of more than {EVENT_BYTES_MAX} bytes") from None
    except (openai.OpenAIError, UnicodeError, ValueError) as error:
        raise asked.refused(f"could not be asked: {asked.quoted(error)}") from None


def of_error(asked: Asked, error: object, status: int = 0, retry_after: float | None = None) -> Failure:
    """The failure for an error in the protocol's form.

    Args:
        error: the object that `error` holds in an answer.
        status: the HTTP status that it came with; 0 for one in the middle of a stream.
        retry_after: when the server wants to be asked again, in seconds.
    """
    body = error if isinstance(error, Mapping) else {"message": error}
    code = str(body.get("code") or "")
    text = asked.quoted(body.get("message"))
    said = f": {text}" if text else ""
    if code in _FILTERS:
        return asked.refused(f"refused: a content filter found something in the prompt{said}")
    if code == "context_length_exceeded" or (400 <= status < 500 and _CONTEXT.search(text)):
        return asked.refused(f"refused: the prompt is longer than its context{said}")
    if code == "insufficient_quota":
        return asked.refused(f"refused: the quota of the key is used up{said}")
    if status in _WAIT or status >= 500 or not status:
        return asked.unavailable(_busy(status, said), retry_after_s=retry_after)
    return asked.refused(_refusal(status, said))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """When to ask again, as `Retry-After` tells it: in seconds or as a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,9}(?:\.\d+)?", value):
        return float(value)
    date = parsedate_tz(value)
    try:
        return max(0.0, mktime_tz(date) - time.time()) if date else None
    except (ValueError, OverflowError):
        return None


def _busy(status: int, said: str) -> str:
    if status == 429:
        return f"is asked too often (429){said}"
    return f"is out of order ({status}){said}" if status else f"broke off in the middle of its answer{said}"


def _refusal(status: int, said: str) -> str:
    match status:
        case 401 | 403:  # what the server says to this may hold the key
            return f"refused the key ({status}); check the connection's `api_key`"
        case 404:
            return f"is not there (404); check the model's name and the connection's address{said}"
        case _:
            return f"refused the request ({status}){said}"
