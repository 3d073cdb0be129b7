"""What is no HTTP, or too much of it, still gets our form of error, and disturbs nobody."""

import orjson
import pytest

LONG = "x" * 9000


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (f"GET /{LONG} HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (f"GET / HTTP/1.1\r\nHost: x\r\nA: {LONG}\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 200 + "\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01", 400),
    ],
)
async def test_what_cannot_be_read_gets_our_error_and_the_end(bridge, server, dial, reason_of, request_text, status):
    raw = await dial(bridge)
    raw.send(request_text.encode("latin-1"))
    head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/json\r\n" in head
    assert reason_of(orjson.loads(body)) == (status, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert server.seen == []


async def test_nothing_of_the_request_is_repeated_back(bridge, dial):
    raw = await dial(bridge)
    raw.send("GET / HTTP/1.1\r\nHost: x\r\n<script>alert(1)</script>\r\n\r\n")
    assert b"script" not in await raw.rest()


async def test_a_header_cannot_be_smuggled_into_an_answer(start_bridge, dial):
    bridge = await start_bridge(cors_origins=("*",))
    raw = await dial(bridge)
    raw.send(
        "GET /v1/flows/a%0d%0aX-Evil:1 HTTP/1.1\r\nHost: x\r\nOrigin: a%0d%0aX-Evil: 1\r\nConnection: close\r\n\r\n"
    )
    assert b"\r\nX-Evil" not in await raw.rest()


async def test_an_upgrade_is_not_taken_up(bridge, dial):
    raw = await dial(bridge)
    raw.send(
        "GET /v1/flows/a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert (await raw.head()).startswith("HTTP/1.1 200 OK\r\n")


async def test_connect_is_no_method_of_ours(bridge, dial):
    raw = await dial(bridge)
    raw.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nConnection: close\r\n\r\n")
    assert (await raw.head()).startswith("HTTP/1.1 404 ")


async def test_headers_that_never_end_are_given_up(start_bridge, dial):
    bridge = await start_bridge(keepalive_timeout_s=0.3)
    raw = await dial(bridge)
    raw.send("POST / HTTP/1.1\r\nHost: x\r\n")
    assert await raw.rest() == b""
