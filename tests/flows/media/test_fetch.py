"""Fetches stay within their limits and never leave what the guard allows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from aiohttp import web

from penstock_server.flows.media.fetch import Fetcher
from penstock_server.flows.media.guard import address_of, guard_of
from penstock_server.flows.media.sources import BadMedia

LOOPBACK = ("127.0.0.0/8",)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Hosts:
    """A resolver that says what a test tells it to, one answer after the other."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def fetcher(hosts: Hosts | None = None, *, networks: Sequence[str] = LOOPBACK, **limits: float) -> Fetcher:
    asked = {"bytes_max": 1000, "timeout_s": 10.0, "fetches_max": 4} | limits
    return Fetcher(guard_of(networks), resolve=hosts or Hosts(["127.0.0.1"]), **asked)  # type: ignore[arg-type]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[int]]]:
    """Serves a handler on every path, and gives the port."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


async def hello(request: web.Request) -> web.Response:
    return web.Response(body=b"hello", content_type="text/plain", charset="utf-8")


async def test_what_is_there_comes_with_its_type(serve):
    port = await serve(hello)
    found = await fetcher().fetch(f"http://files.example:{port}/x")
    assert (found.content, found.mime_type) == (b"hello", "text/plain")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.0.1",
        "100.100.100.200", "100.64.0.1", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255", "192.0.2.1", "203.0.113.9", "192.88.99.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::a00:1",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address):
    assert guard_of(()).allows(address_of(address)) is False


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is_public_is_allowed(address):
    assert guard_of(()).allows(address_of(address)) is True


def test_what_the_operator_allows_is_allowed_and_nothing_beside_it():
    guard = guard_of(["10.1.0.0/16", "::1"])
    assert [guard.allows(address_of(text)) for text in ("10.1.2.3", "::1", "::ffff:10.1.2.3")] == [True] * 3
    assert [guard.allows(address_of(text)) for text in ("10.2.0.1", "127.0.0.1", "::2")] == [False] * 3


@pytest.mark.parametrize("text", ["10.1.0.1/16", "example.com", ""])
def test_a_network_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="is no network"):
        guard_of([text])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost", "017700000001"]
)
async def test_no_spelling_of_a_private_address_gets_through(host, serve):
    port = await serve(hello)
    guarded = Fetcher(guard_of(()), bytes_max=100, timeout_s=10, fetches_max=1)  # with the system's resolver
    with pytest.raises(BadMedia):
        await guarded.fetch(f"http://{host}:{port}/")


async def test_one_private_address_among_public_ones_spoils_a_name():
    hosts = Hosts(["93.184.215.14", "127.0.0.1"])
    with pytest.raises(BadMedia, match="not public"):
        await fetcher(hosts, networks=()).fetch("http://two.example/")


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(serve):
    """DNS rebinding: nothing asks for the second answer, which would lead elsewhere."""
    port = await serve(hello)
    hosts = Hosts(["127.0.0.1"], ["10.0.0.1"])
    assert (await fetcher(hosts).fetch(f"http://rebind.example:{port}/")).content == b"hello"
    assert hosts.asked == ["rebind.example"]


async def test_a_redirect_to_a_private_address_is_refused(serve):
    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")

    port = await serve(away)
    with pytest.raises(BadMedia, match="not public"):
        await fetcher().fetch(f"http://files.example:{port}/")


async def test_a_redirect_looks_the_host_up_again(serve):
    async def again(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"http://inside.example:{request.url.port}/secret")

    port = await serve(again)
    hosts = Hosts(["127.0.0.1"], ["10.0.0.1"])
    with pytest.raises(BadMedia, match="not public"):
        await fetcher(hosts).fetch(f"http://files.example:{port}/")
    assert hosts.asked == ["files.example", "inside.example"]


async def test_redirects_are_followed_and_bounded(serve):
    async def stairs(request: web.Request) -> web.Response:
        left = int(request.path.strip("/"))
        if left == 0:
            return web.Response(body=b"down")
        raise web.HTTPTemporaryRedirect(f"/{left - 1}")

    port = await serve(stairs)
    assert (await fetcher().fetch(f"http://files.example:{port}/5")).content == b"down"
    with pytest.raises(BadMedia, match="more than 5 redirects"):
        await fetcher().fetch(f"http://files.example:{port}/6")


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://files.example/x", "http://", "//", "http://a:b@files.example/"]
)
async def test_a_redirect_to_anything_but_http_is_refused(target, serve):
    async def away(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    port = await serve(away)
    with pytest.raises(BadMedia):
        await fetcher().fetch(f"http://files.example:{port}/")


async def test_too_much_is_refused_whether_it_is_announced_or_not(serve):
    async def much(request: web.Request) -> web.StreamResponse:
        if request.path == "/announced":
            return web.Response(body=b"x" * 1001)
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 100)

    port = await serve(much)
    for path in ("announced", "endless"):
        with pytest.raises(BadMedia, match="larger than 1000 bytes"):
            await fetcher().fetch(f"http://files.example:{port}/{path}")
    assert len((await fetcher(bytes_max=1001).fetch(f"http://files.example:{port}/announced")).content) == 1001


async def test_what_comes_drop_by_drop_is_given_up(serve):
    async def drops(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)

    port = await serve(drops)
    with pytest.raises(BadMedia, match=r"within 0\.5 seconds"):
        await fetcher(timeout_s=0.5).fetch(f"http://files.example:{port}/")


async def test_compressed_content_is_not_unpacked(serve):
    async def packed(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})

    port = await serve(packed)
    with pytest.raises(BadMedia, match="compressing"):
        await fetcher().fetch(f"http://files.example:{port}/")


@pytest.mark.parametrize("status", [204, 206, 304, 403, 404, 500])
async def test_any_answer_but_200_is_told(status, serve):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    port = await serve(answer)
    with pytest.raises(BadMedia, match=f"answered {status}"):
        await fetcher().fetch(f"http://files.example:{port}/")


@pytest.mark.parametrize(
    "address", ["http://", "http:///x", "https://[::1", "http://user@files.example/", "http://a..b/", "http://\u0000/"]
)
async def test_what_is_no_address_is_refused(address):
    with pytest.raises(BadMedia):
        await Fetcher(guard_of(()), bytes_max=10, timeout_s=10, fetches_max=1).fetch(address)


async def test_proxies_of_the_environment_are_not_used(serve, monkeypatch):
    port = await serve(hello)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert (await fetcher().fetch(f"http://files.example:{port}/x")).content == b"hello"


async def test_more_fetches_than_allowed_wait_for_their_turn(serve):
    busy, most = 0, 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.05)
        busy -= 1
        return web.Response(body=b"x")

    port = await serve(slow)
    fetch = fetcher(fetches_max=2)
    await asyncio.gather(*(fetch.fetch(f"http://files.example:{port}/{n}") for n in range(6)))
    assert most == 2
