"""Images and files reach flow code as objects with their bytes, from every form that callers may send."""

import base64
import json
from pathlib import Path

import pytest
from aiohttp import web

from penstock.media import File, Image, image_type_of
from penstock_server.errors import InvalidRequest
from penstock_server.flows.loader import load
from penstock_server.flows.media.hints import SAMPLE_IMAGE
from penstock_server.flows.problems import FlowLoadError
from penstock_server.flows.results import describe
from penstock_server.flows.settings import FlowSettings

PNG = base64.b64decode(SAMPLE_IMAGE.partition(",")[2])
BASE64 = base64.b64encode(PNG).decode()
LOOPBACK = {"outbound_networks": ("127.0.0.1",)}

LOOK = """
    from penstock.flow import tool
    @tool
    def look(it) -> dict:
        return {"kind": type(it).__name__, "type": it.mime_type, "bytes": len(it), "from": it.source_url}
    """
READ = """
    from penstock.flow import tool
    @tool
    def read(it) -> dict:
        return {"name": it.file_name, "type": it.file_type, "text": it.text(), "uri": it.source_uri}
    """


def document(kind: str, tool: str, default: str = "") -> str:
    return f"""
        inputs: {{it: {{type: {kind}{default}}}}}
        outputs: {{o: {{reference: '${{t.output}}'}}}}
        nodes:
        - {{name: t, type: python, source: {{type: code, path: {tool}.py}}, inputs: {{it: '${{inputs.it}}'}}}}
        """


@pytest.fixture
def looking(load_folder):
    return lambda **settings: load_folder({"flow.dag.yaml": document("image", "look"), "look.py": LOOK}, **settings)


@pytest.fixture
def reading(load_folder):
    return lambda **settings: load_folder({"flow.dag.yaml": document("file", "read"), "read.py": READ}, **settings)


@pytest.fixture
async def site():
    """A web server: its address, and the requests that came."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/gone":
            raise web.HTTPNotFound
        if request.path == "/loop":
            raise web.HTTPFound("/loop")
        kind = "text/markdown" if request.path.endswith(".md") else "application/octet-stream"
        return web.Response(body=b"# hi" if kind == "text/markdown" else PNG, content_type=kind)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


@pytest.mark.parametrize(
    "sent",
    [
        BASE64,
        f"data:image/png;base64,{BASE64}",
        f"DATA:image/jpeg;base64,{BASE64}",
        {"source_uri": f"data:image/png;base64,{BASE64}"},
        {"data:image/png;base64": BASE64},
        {"data:image/*;base64": f"data:image/png;base64,{BASE64}"},
        {"data:image/png;url": f"data:image/png;base64,{BASE64}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}"}},
    ],
)
async def test_an_image_that_is_in_the_request(sent, looking, run):
    assert await run(looking(), it=sent) == {
        "o": {"kind": "Image", "type": "image/png", "bytes": len(PNG), "from": None}
    }


async def test_an_image_that_lies_elsewhere_is_fetched_once_for_a_call(site, looking, run):
    address, asked = site
    flow = looking(**LOOPBACK)
    for sent in (f"{address}/a", {"source_uri": f"{address}/a"}, {"data:image/png;url": f"{address}/a"}):
        result = await run(flow, it=sent)
        assert result == {"o": {"kind": "Image", "type": "image/png", "bytes": len(PNG), "from": f"{address}/a"}}
    assert asked == ["/a"] * 3


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (5, "must be a string or an object that holds an address or base64"),
        (None, "must be a string or an object"),
        ("", "is empty"),
        ("no base64!", "is neither an http"),
        ("/etc/passwd", "is neither an http"),
        ("file:///etc/passwd", "is an address of the kind `file:`"),
        ("oss://bucket/key", "is an address of the kind `oss:`"),
        ("../../secret.png", "is neither an http"),
        ({"data:image/png;path": "/etc/passwd"}, "names a path: files of the server cannot be read"),
        ({"source_uri": "/etc/passwd"}, "is neither an http"),
        ({"data:image/png;base64": "a"}, "is neither an http"),
        ({"data:image/png;base64": 7}, "holds no text"),
        ({"image": BASE64}, "is an object of no known form"),
        ({}, "is an object of no known form"),
        (base64.b64encode(b"%PDF-1.7").decode(), "is no image: PNG, JPEG"),
        (
            {"data:image/png;base64": base64.b64encode(b"<svg>").decode()},
            "is no image, although it is sent as image/png",
        ),
        ("data:image/png;base64", "has no comma"),
        (f"data:image/png;base64,{BASE64[:-3]}", "is neither an http"),
        (base64.b64encode(PNG + b"x" * 1000).decode(), "is larger than 1000 bytes"),
        ("data:image/png," + "x" * 10_000, "is larger than 1000 bytes"),
        ("http://127.0.0.1:1/x.png", "leads to an address that is not public"),
        ("http://localhost:1/x.png", "leads to an address that is not public"),
    ],
)
async def test_an_image_that_cannot_be_had_names_its_input(sent, text, looking):
    with pytest.raises(InvalidRequest) as caught:
        await looking(media_bytes_max=1000).arguments({"it": sent})
    ((field, said),) = caught.value.violations
    assert (field, text in said) == ("inputs.it", True), said


@pytest.mark.parametrize(
    ("path", "text"), [("gone", "answered 404"), ("loop", "more than 5 redirects"), ("x.md", "is no image")]
)
async def test_an_address_that_gives_no_image_names_its_input(path, text, site, looking):
    with pytest.raises(InvalidRequest, match=f"inputs.it: .*{text}"):
        await looking(**LOOPBACK).arguments({"it": f"{site[0]}/{path}"})


async def test_a_file_has_its_name_its_type_and_its_content(site, reading, run):
    address, _ = site
    flow = reading(**LOOPBACK)
    uri = f"{address}/notes/r%C3%A9sum%C3%A9.md?x=1"
    assert await run(flow, it={"source_uri": uri}) == {
        "o": {"name": "résumé.md", "type": "text/markdown", "text": "# hi", "uri": uri}
    }
    named = await run(flow, it={"source_uri": "data:,a%20b", "file_name": "../b\\a.txt", "file_type": "text/x"})
    assert named == {"o": {"name": "a.txt", "type": "text/x", "text": "a b", "uri": "data:text/x;base64,YSBi"}}


async def test_nothing_is_fetched_for_a_call_that_is_wrong_anyway(site, load_folder):
    address, asked = site
    yaml = document("image", "look").replace("inputs: {it:", "inputs: {n: {type: int}, it:", 1)
    flow = load_folder({"flow.dag.yaml": yaml, "look.py": LOOK}, **LOOPBACK)
    with pytest.raises(InvalidRequest, match=r"inputs\.n: must be an integer"):
        await flow.arguments({"n": "x", "it": f"{address}/a"})
    assert asked == []


async def test_code_is_not_sent_to_an_address_that_nobody_has_checked(flow_of, run):
    async def where(notes: File) -> str:
        return notes.get_download_url()

    sent = {"source_uri": "data:,x", "download_url": "http://169.254.169.254/"}
    assert await run(flow_of(where), notes=sent) == {"output": "data:application/octet-stream;base64,eA=="}


async def test_all_that_is_fetched_for_a_call_is_bounded_together(site, flow_of):
    async def count(pictures: list[Image]) -> int:
        return len(pictures)

    flow = flow_of(count, media_bytes_max=2 * len(PNG), **LOOPBACK)
    assert len((await flow.arguments({"pictures": [f"{site[0]}/{n}" for n in range(2)]}))["pictures"]) == 2
    with pytest.raises(InvalidRequest, match=f"larger than {2 * len(PNG)} bytes in all"):
        await flow.arguments({"pictures": [f"{site[0]}/{n}" for n in range(3)]})


async def test_more_addresses_than_a_call_may_name(flow_of):
    async def count(pictures: list[Image]) -> int:
        return len(pictures)

    flow = flow_of(count)
    with pytest.raises(InvalidRequest, match="name 17 images and files; 16 are fetched"):
        await flow.arguments({"pictures": [f"http://127.0.0.1:1/{n}" for n in range(17)]})


async def test_images_among_other_data_are_found_as_in_prompt_flow(load_folder, run):
    tool = """
        from penstock.flow import tool
        @tool
        def kinds(it) -> list:
            return [type(part).__name__ for part in it]
        """
    flow = load_folder({"flow.dag.yaml": document("list", "kinds"), "kinds.py": tool})
    sent = ["what is it?", {"data:image/png;base64": BASE64}, {"data:image/png;base64": BASE64, "more": 1}]
    assert await run(flow, it=sent) == {"o": ["str", "Image", "dict"]}
    with pytest.raises(InvalidRequest, match=r"inputs\.it: names a path"):
        await flow.arguments({"it": [{"data:image/png;path": "x.png"}]})


async def test_the_classes_are_type_hints(site, flow_of, run):
    async def both(picture: Image, notes: File | None = None) -> str:
        assert isinstance(picture, Image)
        return f"{picture.mime_type} {notes.text() if notes else '-'}"

    flow = flow_of(both, **LOOPBACK)
    assert await run(flow, picture=BASE64) == {"output": "image/png -"}
    assert await run(flow, picture=f"{site[0]}/a", notes=f"{site[0]}/b.md") == {"output": "image/png # hi"}
    assert flow.spec.input_schema["required"] == ["picture"]
    with pytest.raises(InvalidRequest, match=r"inputs\.picture: is no image"):
        await flow.arguments({"picture": "AAAA"})


async def test_checks_of_the_flow_s_own_see_the_content_not_its_absence(site, flow_of, run):
    from pydantic import BaseModel, field_validator

    class Photo(BaseModel):
        title: str
        picture: Image

        @field_validator("picture")
        @classmethod
        def _is_not_empty(cls, value: Image) -> Image:
            assert len(value) > 0, "is empty"
            return value

    async def size(photo: Photo) -> int:
        return len(photo.picture)

    flow = flow_of(size, **LOOPBACK)
    assert await run(flow, photo={"title": "x", "picture": f"{site[0]}/a"}) == {"output": len(PNG)}
    with pytest.raises(InvalidRequest, match=r"inputs\.photo\.title: is required"):
        await flow.arguments({"photo": {"picture": f"{site[0]}/a"}})


async def test_images_and_files_come_out_as_json(flow_of, run):
    async def make() -> dict:
        report = File(content=b"hi", file_name="a.txt", file_id="1")
        link = File("https://example.com/b.pdf?x=1", file_id="2")
        return {"picture": Image(PNG), "all": [Image(PNG, "IMAGE/PNG")], "report": report, "link": link}

    assert await run(flow_of(make)) == {
        "picture": {"data:image/png;base64": BASE64},
        "all": [{"data:image/png;base64": BASE64}],
        "report": {
            "source_uri": "data:text/plain;base64,aGk=",
            "file_id": "1",
            "file_name": "a.txt",
            "file_type": "text/plain",
        },
        "link": {
            "source_uri": "https://example.com/b.pdf?x=1",
            "file_id": "2",
            "file_name": "b.pdf",
            "file_type": "application/pdf",
        },
    }


async def test_code_may_use_the_classes_in_models_of_its_own(flow_of, run):
    from pydantic import BaseModel, ValidationError

    class Photo(BaseModel):
        picture: Image
        notes: File | None = None

    async def make(picture: Image) -> Photo:
        with pytest.raises(ValidationError, match="only what callers send is fetched"):
            Photo(picture="https://example.com/x.png")
        assert Photo(picture=BASE64).picture == picture
        return Photo(picture=picture, notes=File(content=b"x", file_name="a.txt", file_id="1"))

    result = await run(flow_of(make), picture=BASE64)
    assert result["picture"] == {"data:image/png;base64": BASE64}
    assert result["notes"]["source_uri"] == "data:text/plain;base64,eA=="


@pytest.mark.parametrize(
    "default", ["pixel.png", "{'data:image/png;path': pixel.png}", f"{{'data:image/png;base64': '{BASE64}'}}"]
)
async def test_a_default_may_be_a_file_of_the_folder(default, load_folder, write, run):
    folder = write({"look.py": LOOK})
    (folder / "pixel.png").write_bytes(PNG)
    flow = load_folder({"flow.dag.yaml": document("image", "look", f", default: {default}")})
    assert (await run(flow))["o"]["bytes"] == len(PNG)
    assert "default" not in flow.spec.input_schema["properties"]["it"]
    assert "required" not in flow.spec.input_schema


@pytest.mark.parametrize(
    ("default", "text"),
    [
        ("../pixel.png", "`../pixel.png` lies outside the flow's folder"),
        ("/etc/hosts.conf", "lies outside the flow's folder"),
        ("gone.png", "`gone.png` is no file of the flow's folder"),
        ("look.py", "is no image"),
        ("https://example.com/x.png", "is an address"),
        ("7", "must be a string or an object"),
    ],
)
def test_a_default_that_cannot_be_read_is_placed(default, text, write):
    write({"flow.dag.yaml": document("image", "look", f", default: {default}"), "look.py": LOOK})
    with pytest.raises(FlowLoadError, match=r"shop/flow.dag.yaml:1:37: input `it`: the default .*") as caught:
        load("shop", settings=FlowSettings())
    assert text in str(caught.value)


def test_the_schema_says_what_may_be_sent_and_gives_a_sample_that_works(looking, reading):
    for flow in (looking(), reading()):
        schema = flow.spec.input_schema["properties"]["it"]
        assert "an http(s) address, a data URL or base64" in schema["description"]
        flow.bind({"it": schema["examples"][0]})


def test_what_flow_code_may_do_with_an_image():
    image = Image(PNG, source_url="https://example.com/x.png")
    assert json.loads(json.dumps(image.to_json())) == {"data:image/png;base64": BASE64}
    assert image.to_base64(with_type=True) == f"data:image/png;base64,{BASE64}"
    assert str(image) == str(Image(PNG))
    assert Image(b"?").mime_type == "image/*"
    assert describe([image, File(content=b"x", file_name="a.txt")]) == [
        f"Image(image/png, {len(PNG)} bytes)",
        "File('a.txt', text/plain, 1 bytes)",
    ]


def test_a_file_without_content_says_where_it_is():
    with pytest.raises(ValueError, match=r"it lies at oss://bucket/a\.txt"):
        File("oss://bucket/a.txt").read()
    with pytest.raises(ValueError, match="needs a source_uri"):
        File()
    assert File("oss://bucket/a.txt").get_download_url() == "oss://bucket/a.txt"


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"XXXX\0\0\0\0WEBP", None),
        (b"\0\0\0\x1cftypheic", "image/heic"),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_type(start, kind):
    assert image_type_of(start) == kind


def test_paths_stay_closed_where_the_current_folder_holds_such_a_file(looking, tmp_path: Path, monkeypatch):
    (tmp_path / "abcd").write_bytes(PNG)
    flow = looking()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest):
        flow.bind({"it": "abcd"})
