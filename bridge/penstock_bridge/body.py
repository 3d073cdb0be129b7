"""Reading a request's body within its limits."""

from asyncio import timeout

from aiohttp.web import RequestPayloadError

from penstock.status import Code
from penstock_bridge.config import BridgeConfig
from penstock_bridge.errors import Problem, invalid_request, problem
from penstock_bridge.forms import is_form, parse_form
from penstock_bridge.negotiation import FORM, JSON
from penstock_bridge.reply import write
from penstock_bridge.request import Request

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


Body = bytes | dict[str, object]
"""JSON, unparsed; or what a form holds. Empty where there is none."""


async def read_body(request: Request, config: BridgeConfig, *, forms: bool) -> Body:
    """The body of a call.

    Args:
        forms: whether it may be a form.

    Raises:
        Problem: it is too large (413), too slow (408), compressed or of another type (415), not framed as HTTP asks,
            or no valid form (400).
    """
    if not request.body_exists:
        return b""
    _check_encoding(request)
    content_type = request.headers.get("Content-Type")
    if forms and content_type is not None and is_form(content_type):
        return await parse_form(await read(request, config), content_type)
    _check_type(content_type, forms)
    return await read(request, config)


async def read(request: Request, config: BridgeConfig) -> bytes:
    """The body, whatever it holds. Raises like `read_body`."""
    length = request.headers.get("Content-Length", "")
    # The parser has seen to it that it is a number.
    if length and int(length) > config.body_bytes_max:
        raise _too_large(config)
    content = request.content
    if content.is_eof() and content.total_bytes <= config.body_bytes_max:
        return content.read_nowait() if content.total_bytes else b""
    _continue(request)
    try:
        async with timeout(config.body_timeout_s):
            return await _read_pieces(request, config)
    except TimeoutError:
        raise problem(
            Code.DEADLINE_EXCEEDED, "BODY_TIMEOUT", f"The body did not arrive within {config.body_timeout_s:g} s"
        ) from None
    except RequestPayloadError:
        raise invalid_request("The body does not follow its transfer encoding") from None


async def _read_pieces(request: Request, config: BridgeConfig) -> bytes:
    content = request.content
    pieces: list[bytes] = []
    size = 0
    while piece := await content.readany():
        size += len(piece)
        if size > config.body_bytes_max:
            raise _too_large(config)
        pieces.append(piece)
    return b"".join(pieces)


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        raise _unsupported("Send the body uncompressed, without the header Content-Encoding")


def _check_type(given: str | None, forms: bool) -> None:
    # This is more than order: a web page of another origin can make a browser send text, with no question asked, but
    # not JSON. It can send a form, too; the guard refuses that by its Origin, where no token is asked for.
    if given is not None and not _is_json(given):
        kind = given.partition(";")[0].strip() or "nothing"
        what, more = ("JSON or a form", f" or `{FORM}`") if forms else ("JSON", "")
        raise _unsupported(f"The body is {what}: send the header `Content-Type: {JSON}`{more}, not {kind[:64]!r}")


def _is_json(content_type: str) -> bool:
    if content_type == JSON:
        return True
    media_type, *parameters = content_type.lower().split(";")
    if media_type.strip() != JSON:
        return False
    charsets = [p.strip().removeprefix("charset=").strip('"') for p in parameters if p.strip().startswith("charset=")]
    return all(charset in ("utf-8", "utf8", "us-ascii") for charset in charsets)


def _continue(request: Request) -> None:
    """Tells a client that waits with its body to send it (RFC 9110 §10.1.1)."""
    expect = request.headers.get("Expect")
    if expect is None or request.version < (1, 1):
        return
    if expect.strip().lower() != "100-continue":
        raise invalid_request("The header Expect may only be 100-continue", http=417)
    write(request, _CONTINUE)


def _too_large(config: BridgeConfig) -> Problem:
    return problem(
        Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", f"The body is larger than {config.body_bytes_max} bytes"
    )


def _unsupported(message: str) -> Problem:
    return problem(Code.INVALID_ARGUMENT, "UNSUPPORTED_MEDIA_TYPE", message)
