"""Fetches from addresses that callers name, within limits and past the outbound guard."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from penstock_server.flows.media.guard import OutboundGuard, address_of
from penstock_server.flows.media.sources import BadMedia, too_large

REDIRECTS_MAX = 5
"""How many redirects a fetch follows."""

CHUNK_BYTES = 64 * 1024
"""How much is read at once."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host, given with its port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was found at an address."""

    content: bytes
    mime_type: str
    """What the server there says that it is, without parameters; empty where it says nothing."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the operating system finds."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Fetcher:
    """Fetches what callers name.

    A host's addresses are looked up once for each connection; every one of them must pass the guard, and the connection
    goes to one of those and nowhere else. Each redirect is checked in the same way.

    Args:
        guard: which addresses may be reached.
        bytes_max: how large what is fetched may be.
        timeout_s: how long a fetch may take, with all its redirects.
        fetches_max: how many fetches go on at once; the others wait, and their time does not run.
    """

    def __init__(
        self,
        guard: OutboundGuard,
        *,
        bytes_max: int,
        timeout_s: float,
        fetches_max: int,
        resolve: Resolve = system_resolve,
    ) -> None:
        self._guard = guard
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._room = asyncio.Semaphore(fetches_max)

    async def fetch(self, address: str) -> Fetched:
        """Fetches from an http(s) address.

        Raises:
            BadMedia: it cannot be fetched, or must not be; the text does not tell where the server stands.
        """
        async with self._room:
            try:
                async with asyncio.timeout(self._timeout_s), self._session() as session:
                    return await self._follow(session, address)
            except TimeoutError:
                raise BadMedia(f"could not be fetched within {self._timeout_s:g} seconds") from None
            except aiohttp.ClientError as error:
                raise _failure(error) from None

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_GuardedResolver(self._guard, self._resolve),
            socket_factory=self._socket,
            use_dns_cache=False,
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "penstock"},
            auto_decompress=False,  # what is small on the way may be huge once it is unpacked
            trust_env=False,  # a proxy would look up the host once more, and connect where it likes
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def _follow(self, session: aiohttp.ClientSession, address: str) -> Fetched:
        url = _checked(address)
        for _ in range(REDIRECTS_MAX + 1):
            async with session.get(url, allow_redirects=False) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response)
                url = _checked(_target(response))
        raise BadMedia(f"leads through more than {REDIRECTS_MAX} redirects")

    def _socket(self, target: Any) -> socket.socket:
        """A socket for the one address that it is going to be connected to; an address as a host comes here, too."""
        family, kind, protocol, _, where = target
        if not self._guard.allows(address_of(where[0])):
            raise BadMedia(NOT_ALLOWED)
        return socket.socket(family, kind, protocol)

    async def _read(self, response: aiohttp.ClientResponse) -> Fetched:
        if response.status != _OK:
            raise BadMedia(f"could not be fetched: the server there answered {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise BadMedia("could not be fetched: the server there insists on compressing it")
        if (response.content_length or 0) > self._bytes_max:
            raise BadMedia(too_large(self._bytes_max))
        content = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            content += chunk
            if len(content) > self._bytes_max:
                raise BadMedia(too_large(self._bytes_max))
        named = "Content-Type" in response.headers
        return Fetched(content=bytes(content), mime_type=response.content_type if named else "")


class _GuardedResolver(AbstractResolver):
    """Gives the connector addresses that have passed the guard; it connects to no others."""

    def __init__(self, guard: OutboundGuard, resolve: Resolve) -> None:
        self._guard = guard
        self._find = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await self._find(host, port)
        except UnicodeError:  # a name that no resolver can be asked for
            raise BadMedia(NOT_READ) from None
        addresses = [address_of(text) for text in found]
        if not all(map(self._guard.allows, addresses)):
            raise BadMedia(NOT_ALLOWED)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == _IPV4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in dict.fromkeys(addresses)
        ]

    async def close(self) -> None:
        """There is nothing to close."""


def _checked(address: str) -> URL:
    """An address that may be connected to, as far as its text tells.

    Raises:
        BadMedia: it may not.
    """
    try:
        url = URL(address)
    except ValueError:
        raise BadMedia(NOT_READ) from None
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise BadMedia("is no http(s) address")
    if url.raw_user is not None or url.raw_password is not None:
        raise BadMedia("holds a user or a password; sign the address instead")
    return url


def _target(response: aiohttp.ClientResponse) -> str:
    location = response.headers.get("Location", "")
    try:
        return str(response.url.join(URL(location, encoded=True)))
    except ValueError:
        raise BadMedia("leads to an address that cannot be read") from None


def _failure(error: aiohttp.ClientError) -> BadMedia:
    if isinstance(error, aiohttp.InvalidURL):
        return BadMedia(NOT_READ)
    if isinstance(error, aiohttp.ClientSSLError):
        return BadMedia("could not be fetched: the certificate of the server there does not hold")
    if isinstance(error, aiohttp.ClientConnectorError):
        return BadMedia("could not be fetched: there is no such server, or it does not answer")
    return BadMedia("could not be fetched: the server there does not speak HTTP properly")


NOT_READ = "is no address that can be read"
NOT_ALLOWED = "leads to an address that is not public, which this server does not fetch from"
_IPV4 = 4
_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
