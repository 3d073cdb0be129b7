"""Files sent as a form reach the code of flows, through `penstock serve`."""

import base64
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.service import TOKEN, Service, penstock

from penstock_server.flows.media.hints import SAMPLE_IMAGE

TIMEOUT_S = 20.0
PNG = base64.b64decode(SAMPLE_IMAGE.partition(",")[2])
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}

DOCUMENT = """
    inputs:
      question: {type: string}
      image: {type: image}
      times: {type: int, default: 1}
      notes: {type: file, default: ""}
      tags: {type: list, default: []}
    outputs:
      said: {reference: '${look.output}'}
    nodes:
    - name: look
      type: python
      source: {type: code, path: look.py}
      inputs:
        question: ${inputs.question}
        image: ${inputs.image}
        times: ${inputs.times}
        notes: ${inputs.notes}
        tags: ${inputs.tags}
    """
LOOK = """
    from penstock.flow import tool
    @tool
    def look(question, image, times, notes, tags) -> dict:
        told = {"question": question * times, "type": image.mime_type, "bytes": len(image), "tags": tags}
        return told | ({"notes": notes.text(), "name": notes.file_name, "kind": notes.file_type} if notes else {})
    """
CALLABLE = """
    from collections.abc import Iterator
    from penstock.flow import File
    def names(files: list[File], upper: bool = False) -> Iterator[str]:
        for file in files:
            yield file.file_name.upper() if upper else file.file_name
    """


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("uploads")
    (root / "seeing").mkdir()
    for name, text in {"seeing/flow.dag.yaml": DOCUMENT, "seeing/look.py": LOOK, "named.py": CALLABLE}.items():
        (root / name).write_text(textwrap.dedent(text))
    return root


@pytest.fixture(scope="module")
def seeing(folder: Path) -> Iterator[Service]:
    yield from serving(folder, "seeing")


@pytest.fixture(scope="module")
def naming(folder: Path) -> Iterator[Service]:
    yield from serving(folder, "named:names")


def serving(folder: Path, flow: str) -> Iterator[Service]:
    addresses = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    place = folder / "service" / flow.partition(":")[0]
    with penstock("serve", flow, *addresses, folder=place, cwd=folder, env={"PENSTOCK_TOKENS": TOKEN}) as service:
        yield service


def post(service: Service, path: str = "/", accept: str = "application/json", **form: Any) -> requests.Response:
    headers = AUTHORIZATION | {"Accept": accept}
    return requests.post(service.http + path, headers=headers, timeout=TIMEOUT_S, **form)


def test_an_image_and_a_question_reach_a_folders_code(seeing: Service) -> None:
    answer = post(seeing, data={"question": "What is this?"}, files={"image": ("cat.png", PNG, "image/png")})
    assert answer.json() == {
        "said": {"question": "What is this?", "type": "image/png", "bytes": len(PNG), "tags": []}
    }, answer.text


def test_a_folders_casts_make_of_text_what_its_inputs_are(seeing: Service) -> None:
    files = {"image": ("cat.png", PNG, "image/png"), "notes": ("../etc/notes.txt", "流".encode(), "text/plain")}
    answer = post(seeing, "/run", data={"question": "hi", "times": "3", "tags": '["a", 1]'}, files=files)
    assert answer.json()["outputs"]["said"] == {
        "question": "hihihi",
        "type": "image/png",
        "bytes": len(PNG),
        "tags": ["a", 1],
        "notes": "流",
        "name": "notes.txt",
        "kind": "text/plain",
    }


def test_what_is_no_image_is_refused_by_its_name(seeing: Service) -> None:
    answer = post(seeing, data={"question": "hi"}, files={"image": ("cat.png", b"meow", "image/png")})
    assert answer.status_code == 400
    assert "inputs.image: is no image, although it is sent as image/png" in answer.json()["error"]["message"]


def test_a_file_that_base64_makes_too_large_is_refused_with_the_same_status(seeing: Service) -> None:
    files = {"image": ("cat.png", PNG + b"x" * 3_500_000, "image/png")}
    answer = post(seeing, data={"question": "hi"}, files=files)
    assert answer.status_code == 413
    assert answer.json()["error"]["details"][0]["reason"] == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_a_callable_gets_a_list_of_files_and_streams(naming: Service, accept: str) -> None:
    answer = post(naming, accept=accept, files=[("files", ("a.txt", b"1")), ("files", ("b.txt", b"2"))])
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith(accept)
    assert answer.text.index("a.txt") < answer.text.index("b.txt") < answer.text.index("done")


def test_a_callables_list_may_hold_one_file_and_its_other_inputs_are_json(naming: Service) -> None:
    one = ("files[]", ("a.txt", b"1"))
    typed = post(naming, files=[one, ("upper", (None, "true", "application/json"))])
    assert typed.json() == {"output": "A.TXT"}, typed.text
    text = post(naming, files=[one, ("upper", (None, "true"))])
    assert text.status_code == 400
    assert "inputs.upper: must be" in text.json()["error"]["message"]


def test_the_document_shows_files_as_binary(seeing: Service, naming: Service) -> None:
    def content(service: Service) -> Any:
        document = requests.get(service.http + "/openapi.json", headers=AUTHORIZATION, timeout=TIMEOUT_S).json()
        return document["paths"]["/"]["post"]["requestBody"]["content"]["multipart/form-data"]

    binary = {"type": "string", "format": "binary"}
    properties = content(seeing)["schema"]["properties"]
    assert {name for name, schema in properties.items() if binary.items() <= schema.items()} == {"image", "notes"}
    assert set(content(seeing)["schema"]["required"]) == {"question", "image"}
    assert content(naming)["schema"]["properties"]["files"]["items"].items() >= binary.items()
    assert content(naming)["encoding"] == {"upper": {"contentType": "application/json"}}
