"""Forms with files, as inputs of a flow: what each part becomes, and what is refused."""

import asyncio
import warnings

import pytest
from aiohttp import FormData

from penstock.values import from_struct
from penstock_bridge.forms import NAME_CHARS_MAX, PART_HEADER_BYTES_MAX, PART_HEADERS_MAX, PARTS_MAX

FORM = {"Content-Type": "multipart/form-data; boundary=B"}
CAT = bytes(range(256)) * 100 + b"--B is no boundary here\r\n--b nor here\r\n\r\n-"
FIELD = 'Content-Disposition: form-data; name="{}"\r\n'
FILE = 'Content-Disposition: form-data; name="{}"; filename="{}"\r\n'


def part(headers: str | bytes, content: bytes = b"x") -> bytes:
    head = headers if isinstance(headers, bytes) else headers.encode()
    return b"--B\r\n" + head + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


async def sent(web, bridge, server, body, *, path="/", **options):
    """The inputs that the server got."""
    options.setdefault("headers", {} if isinstance(body, FormData) else FORM)
    async with web.post(bridge, path, data=body, **options) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()
    return from_struct(server.seen[-1].request.inputs)


async def refused(web, bridge, body, *, path="/", headers=FORM):
    async with web.post(bridge, path, data=body, headers=headers) as answer:
        return await answer.json()


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "application/x-ndjson"])
@pytest.mark.parametrize("path", ["/", "/run"])
async def test_a_form_is_the_inputs_of_every_path_that_takes_them_bare(bridge, server, web, path, accept):
    body = FormData({"question": "What is this?"})
    body.add_field("image", b"\x89PNG\r\n", filename="cat.png", content_type="image/png")
    assert await sent(web, bridge, server, body, path=path, headers={"Accept": accept}) == {
        "question": "What is this?",
        "image": {"source_uri": "data:image/png;base64,iVBORw0K", "file_type": "image/png", "file_name": "cat.png"},
    }
    assert server.seen[-1].metadata["authorization"] == "Bearer t0ken"


async def test_text_stays_text_and_json_becomes_what_it_says(bridge, server, web):
    json = "Content-Type: application/json\r\n"
    body = form(
        part(FIELD.format("n"), b"3"),
        part(FIELD.format("空"), "流\r\n".encode()),
        part(FIELD.format("nothing"), b""),
        part(FIELD.format("note") + "Content-Type: text/markdown; charset=UTF-8\r\n", b"# hi"),
        part(FIELD.format("filter") + json, b'{"tags": ["a"], "top": 3}'),
        part(FILE.format("made", "blob") + json, b"[1]"),
    )
    assert await sent(web, bridge, server, body) == {
        "n": "3",
        "空": "流\r\n",
        "nothing": "",
        "note": "# hi",
        "filter": {"tags": ["a"], "top": 3},
        "made": [1],
    }


async def test_any_bytes_arrive_as_they_were_sent(bridge, server, web):
    from base64 import b64decode

    for content in (b"", CAT, CAT * 30, b"\r\n", b"-" * 70_000):
        got = await sent(web, bridge, server, form(part(FILE.format("f", "a;b;c.bin"), content)))
        assert b64decode(got["f"]["source_uri"].partition(",")[2]) == content
        assert got["f"]["file_name"] == "a;b;c.bin"
        assert got["f"]["file_type"] == "application/octet-stream"


async def test_several_files_of_one_name_are_a_list_in_their_order(bridge, server, web):
    body = form(part(FILE.format("f", "1")), part(FIELD.format("q")), part(FILE.format("f", "2")))
    got = await sent(web, bridge, server, body)
    assert [file["file_name"] for file in got["f"]] == ["1", "2"]
    assert got["q"] == "x"


async def test_brackets_make_a_list_even_of_one(bridge, server, web):
    body = form(part(FILE.format("f[]", "1")), part(FIELD.format("tags[]"), b"a"), part(FIELD.format("tags[]"), b"b"))
    got = await sent(web, bridge, server, body)
    assert [file["file_name"] for file in got["f"]] == ["1"]
    assert got["tags"] == ["a", "b"]


async def test_a_json_file_with_a_name_of_its_own_stays_a_file(bridge, server, web):
    body = form(part(FILE.format("f", "data.json") + "Content-Type: application/json\r\n", b"{"))
    assert (await sent(web, bridge, server, body))["f"]["file_type"] == "application/json"


@pytest.mark.parametrize("body", [form(), form(part(FILE.format("f", ""), b"")), b"--B--", b"\r\n--B--\r\nafter", b""])
async def test_a_form_without_parts_has_no_inputs(bridge, server, web, body):
    assert await sent(web, bridge, server, body) == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ('filename="流.png"', "流.png"),
        ("filename*=UTF-8''%E6%B5%81.png", "流.png"),
        ('filename="C:\\\\x\\\\a.png"', "C:\\x\\a.png"),
        ("filename=plain.png", "plain.png"),
    ],
)
async def test_a_file_keeps_its_name(bridge, server, web, name, said):
    got = await sent(web, bridge, server, form(part(f'Content-Disposition: form-data; name="f"; {name}\r\n')))
    assert got["f"]["file_name"] == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": 1}', "The form does not begin with its boundary"),
        (b"\r\n" * 400_000 + form(), "The form does not begin with its boundary"),
        (part(FIELD.format("a")), "The form is cut"),
        (form(part(FIELD.format("a")))[:-4], "The form is cut"),
        (part(FILE.format("a", "b"))[:-2] + b"--B--", "inputs.a: is cut"),
        (b"--B\r\n--B--\r\n", "part 1 has"),
        (b"--Bx\r\n--B--\r\n", "The form does not begin with its boundary"),
        (b"--B--x" + b"\n" * 400_000, "The form does not begin with its boundary"),
        (b"--B\r\n\r\nx\r\n--Bx\r\n--B--", "part 1 has no name"),
        (part(FIELD.format("a")) + b"--Bx\r\n--B--", "part 2 does not begin as a part does"),
        (form(part("")), "part 1 has no name"),
        (form(part(FIELD.format("a")), part("Content-Type: text/plain\r\n")), "part 2 has no name"),
        (form(part("Content-Disposition: form-data\r\n")), "part 1 has no name"),
        (form(part('Content-Disposition: attachment; name="a"\r\n')), "part 1 has no name"),
        (form(part(FIELD.format(""))), "part 1 has a name that is empty"),
        (form(part("Content-Disposition: form-data; name*1=a; name*=b\r\n")), "part 1 has a name that is empty"),
        (form(part(FIELD.format("a") * 2)), "part 1 has a header twice"),
        (form(part("no header\r\n")), "part 1 has broken headers"),
        (form(part(b'Content-Disposition: form-data; name="\xff"\r\n')), "part 1 has a header that is not UTF-8"),
        (form(part(FIELD.format("n" * (NAME_CHARS_MAX + 1)))), f"more than {NAME_CHARS_MAX} characters"),
        (form(part(FILE.format("a", "n" * (NAME_CHARS_MAX + 1)))), "inputs.a: has a filename of more than"),
        (form(part("X: " + "x" * PART_HEADER_BYTES_MAX + "\r\n")), f"more than {PART_HEADER_BYTES_MAX} bytes"),
        (form(part("".join(f"X{n}: x\r\n" for n in range(PART_HEADERS_MAX + 1)))), f"more than {PART_HEADERS_MAX}"),
        (form(*(part(FIELD.format(n)) for n in range(PARTS_MAX + 1))), f"more than {PARTS_MAX} parts"),
        (form(part(FIELD.format("a") + "Content-Type: multipart/mixed; boundary=C\r\n")), "part 1 is itself multipart"),
        (form(part(FIELD.format("a") + "Content-Type: multipart/mixed\r\n")), "part 1 does not begin"),
        (form(part(FIELD.format("a"), b"\xff")), "inputs.a: is text that is not UTF-8"),
        (form(part(FIELD.format("a") + "Content-Type: text/plain; charset=utf-16\r\n")), "inputs.a: is not sent as"),
        (form(part(FIELD.format("a") + "Content-Type: image/png\r\n")), "inputs.a: is sent as image/png without"),
        (form(part(FILE.format("a", "b") + "Content-Type: image/png,x\r\n")), "inputs.a: has a Content-Type that is"),
        (form(part(FIELD.format("a") + "Content-Transfer-Encoding: base64\r\n")), "has a Content-Transfer-Encoding"),
        (form(part(FIELD.format("a")), part(FIELD.format("a"))), "inputs.a: is given twice; name the parts 'a[]'"),
        (form(part(FIELD.format("a")), part(FILE.format("a", "b"))), "inputs.a: is given twice"),
        (form(part(FILE.format("a[]", "b")), part(FILE.format("a", "b"))), "inputs.a: comes both as 'a' and as 'a[]'"),
        (form(part(FIELD.format("a") + "Content-Type: application/json\r\n", b"{")), "inputs.a: not valid JSON"),
        (form(part(FIELD.format("a") + "Content-Type: application/json\r\n", b'{"b":1e300,"b":1}')), "appears twice"),
        (form(part(FIELD.format("a") + "Content-Type: application/json\r\n", b'{"b":9007199254740993}')), "inputs.a.b"),
    ],
)  # fmt: skip
async def test_a_form_that_is_not_valid_is_told_why(bridge, server, web, reason_of, body, said):
    error = await refused(web, bridge, body)
    assert reason_of(error) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert said in error["error"]["message"]
    assert server.seen == []


@pytest.mark.parametrize(
    "parameter", ["", "; boundary", "; boundary=", f"; boundary={'b' * 71}", '; boundary="a\\"b"', "; boundary=é"]
)
async def test_a_boundary_must_be_there_and_valid(bridge, web, reason_of, parameter):
    error = await refused(web, bridge, form(), headers={"Content-Type": "multipart/form-data" + parameter})
    assert reason_of(error) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert "names no valid boundary" in error["error"]["message"]


async def test_many_json_parts_hold_no_more_values_than_one(bridge, web, reason_of):
    json = "Content-Type: application/json\r\n"
    values = b"[" + b"0," * 60_000 + b"0]"
    error = await refused(web, bridge, form(*(part(FIELD.format(n) + json, values) for n in "ab")))
    assert reason_of(error) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    assert "100000 values" in error["error"]["message"]


async def test_what_is_refused_leaves_no_warning_behind(bridge, web):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await refused(web, bridge, form(part('Content-Disposition: form-data; name="a" b "c\r\n')))
    assert caught == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/flows/x:invoke"),
        ("POST", "/v1/flows/x:invokeStream"),
        ("PATCH", "/v1/sessions/" + "s" * 32),
        ("POST", "/v1/users/u:erase"),
    ],
)
async def test_every_other_path_takes_no_form(bridge, server, web, reason_of, method, path):
    async with web.request(bridge, method, path, data=form(), headers=FORM) as answer:
        assert reason_of(await answer.json()) == (415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE")
    assert server.seen == []


async def test_a_form_without_a_token_is_refused_unread(bridge, server, dial):
    raw = await dial(bridge)
    raw.send(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\nContent-Length: 1000\r\n\r\n")
    assert (await raw.head()).startswith("HTTP/1.1 401 ")
    assert server.seen == []


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
async def test_another_origins_page_can_send_no_form_to_an_open_service(start_bridge, server, web, reason_of, origin):
    bridge = await start_bridge(auth=False)
    async with web.post(bridge, "/", token=None, data=form(), headers={**FORM, "Origin": origin}) as answer:
        assert reason_of(await answer.json()) == (403, "PERMISSION_DENIED", "NOT_ALLOWED")
    assert server.seen == []
    async with web.post(bridge, "/", token=None, data=form(), headers=FORM) as answer:
        assert answer.status == 200


async def test_a_form_that_is_too_large_is_refused(start_bridge, server, web, reason_of):
    bridge = await start_bridge(body_bytes_max=10_000)
    large = form(part(FILE.format("f", "a"), b"x" * 20_000))

    async def chunks():
        yield large

    for body in (large, chunks()):
        error = await refused(web, bridge, body)
        assert reason_of(error) == (413, "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
    assert server.seen == []


async def test_a_form_that_dribbles_is_refused_in_time(start_bridge, server, dial):
    bridge = await start_bridge(body_timeout_s=0.3)
    raw = await dial(bridge)
    raw.send("POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n")
    raw.send(f"Content-Type: {FORM['Content-Type']}\r\nContent-Length: 1000\r\n\r\n--B\r\n")
    assert (await raw.head()).startswith("HTTP/1.1 408 ")
    assert server.seen == []


async def test_a_compressed_form_is_refused(bridge, web, reason_of):
    error = await refused(web, bridge, form(), headers={**FORM, "Content-Encoding": "br"})
    assert reason_of(error)[2] == "UNSUPPORTED_MEDIA_TYPE"


async def test_forms_at_once_do_not_mix(bridge, server, web):
    async def one(number: int):
        async with web.post(bridge, "/", data=form(part(FIELD.format("n"), b"%d" % number)), headers=FORM) as answer:
            return (await answer.json())["n"]

    assert await asyncio.gather(*map(one, range(20))) == [str(number) for number in range(20)]
