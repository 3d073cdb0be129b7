"""Request bodies: what is refused, and when."""

import asyncio
import gzip

import orjson
import pytest

from penstock_bridge.reply import WRITE_MARGIN_S

HEAD = "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"question=why", "not valid JSON"),
        (b"[]", "must be an object, not a list"),
        (b'"text"', "must be an object, not a string"),
        (b"12", "must be an object, not a number"),
        (b"null", "must be an object, not null"),
        (b'{"a":1,"a":2}', "appears twice"),
        (b'{"a" :1,"a":2}', "appears twice"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":1e400}', "not valid JSON"),
        (b'{"a":9007199254740993}', "beyond ±2^53"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"\\udc00":1}', "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not valid JSON"),
        (b"[" * 100_000, "nests more than"),
        (b'{"a":' * 100_000, "nests more than"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nests more than 32 deep"),
        (b'{"a":' * 120 + b"1" + b"}" * 120, "nests more than"),
    ],
)
async def test_a_body_that_is_no_valid_object_is_told_why(bridge, server, web, reason_of, body, said):
    async with web.post(bridge, "/", data=body, headers={"Content-Type": "application/json"}) as answer:
        error = await answer.json()
    assert reason_of(error) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert said in error["error"]["message"]
    assert server.seen == []


async def test_a_wrong_value_is_named_by_its_path(bridge, web):
    async def violation(path, body):
        async with web.post(bridge, path, json=body) as answer:
            return (await answer.json())["error"]["details"][1]["fieldViolations"][0]["field"]

    assert await violation("/", {"a": {"b": [1, 2**60]}}) == "inputs.a.b[1]"
    assert await violation("/v1/flows/x:invoke", {"inputs": {"a": 2**60}}) == "inputs.a"
    assert await violation("/v1/flows/x:invoke", {"colour": 1}) == "colour"
    assert await violation("/v1/flows/x:invoke", {"options": {"on_disconnect": "STOP"}}) == "options.onDisconnect"
    assert await violation("/", []) == "inputs"


async def test_whole_numbers_stay_whole(bridge, web):
    body = b'{"a":9007199254740992,"b":-9007199254740992,"c":1.5,"d":0,"e":-0.0}'
    async with web.post(bridge, "/", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert await answer.read() == b'{"a":9007199254740992,"b":-9007199254740992,"c":1.5,"d":0,"e":0}'


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/mixed; boundary=x", "application/jsonx"]
)
async def test_another_media_type_is_refused_with_what_to_send(bridge, server, web, reason_of, kind):
    async with web.post(bridge, "/", data=b"{}", headers={"Content-Type": kind}) as answer:
        error = await answer.json()
    assert reason_of(error) == (415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE")
    assert "Content-Type: application/json" in error["error"]["message"]
    assert server.seen == []


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;a=b"])
async def test_json_may_have_parameters(bridge, web, kind):
    async with web.post(bridge, "/", data=b"{}", headers={"Content-Type": kind}) as answer:
        assert answer.status == 200


async def test_json_in_another_charset_is_refused(bridge, web):
    kind = {"Content-Type": "application/json; charset=utf-16"}
    async with web.post(bridge, "/", data="{}".encode("utf-16"), headers=kind) as answer:
        assert answer.status == 415


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x-unknown"])
async def test_a_compressed_body_is_refused_unread(bridge, web, reason_of, encoding):
    bomb = gzip.compress(b" " * 10_000_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    async with web.post(bridge, "/", data=bomb, headers=headers) as answer:
        assert reason_of(await answer.json())[2] == "UNSUPPORTED_MEDIA_TYPE"


async def test_a_body_announced_too_large_is_refused_before_it_comes(start_bridge, dial, reason_of):
    bridge = await start_bridge(body_bytes_max=1000)
    raw = await dial(bridge)
    raw.send(HEAD + "Content-Length: 1001\r\n\r\n")
    assert (await raw.head()).startswith("HTTP/1.1 413 ")


async def test_a_body_that_grows_too_large_is_refused(start_bridge, dial):
    bridge = await start_bridge(body_bytes_max=1000)
    raw = await dial(bridge)
    raw.send(HEAD + "Transfer-Encoding: chunked\r\n\r\n" + "64\r\n" + "x" * 100 + "\r\n")
    await asyncio.sleep(0.05)
    for _ in range(10):
        raw.send("64\r\n" + "x" * 100 + "\r\n")
    head = await raw.head()
    assert head.startswith("HTTP/1.1 413 ")
    assert "Connection: close" in head


async def test_a_body_of_the_largest_size_is_taken(start_bridge, web):
    bridge = await start_bridge(body_bytes_max=1_000_000)
    body = orjson.dumps({"a": "x" * (1_000_000 - 8)})
    assert len(body) == 1_000_000
    for extra, status in ((b"", 200), (b" ", 413)):
        async with web.post(bridge, "/", data=body + extra, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == status


async def test_a_dribbled_body_is_given_up(start_bridge, dial):
    bridge = await start_bridge(body_timeout_s=0.4, linger_s=0.1)
    raw = await dial(bridge)
    raw.send(HEAD + "Content-Length: 1000\r\n\r\n")

    async def dribble():
        while True:
            raw.send(" ")
            await asyncio.sleep(0.05)

    dribbling = asyncio.create_task(dribble())
    head, body = await raw.head(), await raw.until(b"]}}")
    dribbling.cancel()
    assert head.startswith("HTTP/1.1 408 ")
    assert b'"reason":"BODY_TIMEOUT"' in body


@pytest.mark.parametrize("pause_s", [0, 0.05])
async def test_a_broken_chunk_ends_the_call(start_bridge, server, dial, pause_s):
    bridge = await start_bridge(body_timeout_s=0.3)
    raw = await dial(bridge)
    raw.send(HEAD + "Transfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(pause_s)
    raw.send("zz\r\n")
    assert (await raw.rest()).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 "))
    assert server.seen == []


async def test_a_chunked_body_is_read(bridge, dial):
    raw = await dial(bridge)
    raw.send(HEAD + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert (await raw.rest()).endswith(b"\r\n\r\n{}")


async def test_a_client_that_waits_is_told_to_continue(bridge, dial):
    raw = await dial(bridge)
    raw.send(HEAD + "Expect: 100-continue\r\nContent-Length: 7\r\n\r\n")
    assert await raw.head() == "HTTP/1.1 100 Continue\r\n\r\n"
    raw.send('{"a":1}')
    assert (await raw.head()).startswith("HTTP/1.1 200 OK\r\n")
    assert await raw.reader.readexactly(7) == b'{"a":1}'


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("", 401),
        ("Authorization: Bearer t\r\nContent-Encoding: gzip\r\n", 415),
        ("Authorization: Bearer t\r\nAccept: image/png\r\n", 406),
        ("Authorization: Bearer t\r\nContent-Type: text/plain\r\n", 415),
    ],
)
async def test_a_client_that_waits_in_vain_sends_nothing(start_bridge, dial, lines, status):
    bridge = await start_bridge(linger_s=0.1)
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\n{lines}Expect: 100-continue\r\nContent-Length: 7\r\n\r\n")
    answer = await raw.rest()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"100 Continue" not in answer


async def test_another_expectation_is_refused(bridge, dial):
    raw = await dial(bridge)
    raw.send(HEAD + "Expect: miracles\r\nContent-Length: 7\r\n\r\n")
    assert (await raw.head()).startswith("HTTP/1.1 417 ")


async def test_a_large_answer_that_nobody_reads_is_dropped(start_bridge, server, dial, speak):
    from penstock.v1 import run_pb2
    from penstock.values import to_struct

    async def large(request, context):
        return run_pb2.Run(outputs=to_struct({"a": "x" * 8_000_000}))

    server.invoke = large
    bridge = await start_bridge(write_timeout_s=0.5)
    raw = await dial(bridge, receive_buffer_bytes=4096)
    raw.send(HEAD + "Content-Length: 0\r\n\r\n")
    await asyncio.sleep(0.5 + WRITE_MARGIN_S + 1)
    try:
        received = await raw.rest()
    except ConnectionResetError:
        return
    assert len(received) < 8_000_000


async def test_a_body_of_too_many_values_is_refused_with_the_field_that_it_is(bridge, server, web, reason_of):
    body = b'{"data":[' + b"0," * 500_000 + b"0]}"
    async with web.post(bridge, "/", data=body, headers={"Content-Type": "application/json"}) as answer:
        error = await answer.json()
    assert reason_of(error) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    [bad_request] = [detail for detail in error["error"]["details"] if "fieldViolations" in detail]
    assert bad_request["fieldViolations"][0]["field"] == "inputs"
    assert "100000 values" in error["error"]["message"]
