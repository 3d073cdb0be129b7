"""Building knowledge bases of folders: what is repeated, broken off, refused and skipped."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.modelserver import faults
from tests.modelserver.server import ModelServer

from penstock.connections import MilvusConnection
from penstock_server.errors import ModelRefused, UpstreamUnavailable
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.knowledge import build as building
from penstock_server.flows.knowledge import documents
from penstock_server.flows.knowledge.indexing import Outcome
from penstock_server.flows.knowledge.keywords import KeywordStore
from penstock_server.flows.knowledge.manifest import Shelf
from penstock_server.flows.knowledge.splitting import Splitting
from penstock_server.flows.problems import ProblemFound

BuildShop = Callable[..., Awaitable[Outcome]]
Search = Callable[..., Awaitable[list[str]]]
Write = Callable[..., Path]

VECTORS = {"connection": "open", "model": "echo"}
FILES = {"tea.md": "# Tea\nGreen tea", "guide/milk.html": "<h1>Milk</h1><p>Fresh milk", "退货.txt": "七天之内可以退货"}


@contextmanager
def held(code: str) -> Iterator[None]:
    """Another process, which has done something and stays."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint('done', flush=True)\nsys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "done\n"
            yield
        finally:
            other.kill()


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.indexed, outcome.unchanged, outcome.removed, outcome.chunks


@pytest.mark.parametrize("wanted", [{}, VECTORS], ids=["words", "vectors"])
async def test_only_what_changed_is_taken_in_again(
    write: Write, build: BuildShop, search: Search, server: ModelServer, wanted: dict[str, str]
) -> None:
    folder = write(FILES)
    assert counts(await build(**wanted)) == (3, 0, 0, 3)
    asked = len(server.seen)
    assert counts(await build()) == (0, 3, 0, 3)
    assert len(server.seen) == asked
    write({"tea.md": "# Tea\nBlack tea\n# Oolong\nHalf"})
    (folder / "退货.txt").unlink()
    assert counts(await build()) == (1, 1, 1, 3)
    assert set(await search("tea milk oolong 退货", top_k=10)) == {"tea.md:2", "tea.md:4", "guide/milk.html:1"}
    assert (await search("Fresh milk", source=("guide/",))) == ["guide/milk.html:1"]


async def test_what_cannot_be_read_is_named_skipped_and_counted(write: Write, build: BuildShop, search: Search) -> None:
    folder = write({**FILES, "bad.md": b"\xff\xfe", "null.txt": b"a\0b"})
    (folder / "gone.md").symlink_to(folder / "nowhere")
    outcome = await build()
    assert counts(outcome) == (3, 0, 0, 3)
    assert {each.source: each.reason for each in outcome.skipped} == {
        "bad.md": "it is not UTF-8",
        "null.txt": "it is no text",
        "gone.md": "no such file or directory",
    }
    write({"tea.md": b"\xff"})
    assert counts(await build()) == (0, 2, 0, 3)
    assert await search("green") == ["tea.md:2"], "what was known before stays"


async def test_a_folder_that_cannot_be_listed_keeps_what_is_known_of_it(
    write: Write, build: BuildShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(FILES)
    await build()
    walk = documents.os.walk

    def refused(place: Path, onerror: Callable[[OSError], None]) -> object:
        onerror(PermissionError(13, "Permission denied", str(place / "guide")))
        return ((at, folders, names) for at, folders, names in walk(place) if Path(at).name != "guide")

    monkeypatch.setattr(documents.os, "walk", refused)
    outcome = await build()
    assert (counts(outcome), outcome.skipped[0].source) == ((0, 2, 0, 3), "guide")


@pytest.mark.parametrize("wanted", [{}, VECTORS], ids=["words", "vectors"])
async def test_a_build_that_breaks_off_is_taken_up_again(
    write: Write, build: BuildShop, shelf: Shelf, search: Search, server: ModelServer, wanted: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from penstock_server.flows.knowledge.milvus import MilvusStore

    store = MilvusStore if wanted else KeywordStore
    write(FILES)
    await build(**wanted)
    write({"tea.md": "# Tea\nBlack tea"})
    with monkeypatch.context() as patch:

        def cut(*_: object) -> None:
            raise asyncio.CancelledError

        patch.setattr(store, "insert", cut)
        with pytest.raises(asyncio.CancelledError):
            await build()
    assert not shelf.read("shop").is_complete
    write({"tea.md": FILES["tea.md"]})  # what it was when it was last complete
    assert counts(await build()) == (1, 2, 0, 3)
    assert await search("green", source=("tea.md",)) == ["tea.md:2"]


@pytest.mark.parametrize("wanted", [{}, VECTORS], ids=["words", "vectors"])
async def test_a_file_that_became_empty_is_found_no_more(
    write: Write, build: BuildShop, search: Search, wanted: dict[str, str]
) -> None:
    write({"a.md": ""})
    assert counts(await build(**wanted)) == (1, 0, 0, 0)
    write({"a.md": "tea"})
    assert counts(await build()) == (1, 0, 0, 1)
    write({"a.md": "# "})
    assert counts(await build()) == (1, 0, 0, 0)
    assert await search("tea") == []


async def test_a_model_that_is_asked_too_often_is_asked_again(
    write: Write, build: BuildShop, server: ModelServer
) -> None:
    write(FILES)
    assert counts(await build(connection="open", model="busy-429-2-after-0.05")) == (3, 0, 0, 3)
    assert len(server.seen) >= 4


async def test_what_was_indexed_before_a_model_failed_is_kept(
    write: Write, build: BuildShop, shelf: Shelf, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({f"{number:03}.md": "tea" for number in range(150)})
    await build(**VECTORS)
    write({f"{number:03}.md": "milk" for number in range(150)})
    asked = len(server.seen)
    found = faults.refusal

    def refused_later(*given: object) -> object:
        return found("quota" if len(server.seen) > asked + 8 else "echo", "", frozenset(), 0, 0)

    monkeypatch.setattr(faults, "refusal", refused_later)
    with pytest.raises(ModelRefused, match="the quota of the key is used up"):
        await build()
    monkeypatch.setattr(faults, "refusal", found)
    indexed, unchanged, removed, chunks = counts(await build())
    assert 0 < indexed < 150
    assert (indexed + unchanged, removed, chunks) == (150, 0, 150)
    assert shelf.read("shop").is_complete


async def test_large_files_are_embedded_in_parts(write: Write, build: BuildShop, search: Search) -> None:
    text = "".join(f"# Chapter {number}\nword{number}\n" for number in range(700))
    write({"book.md": text, "tea.md": "tea"})
    assert counts(await build(**VECTORS)) == (2, 0, 0, 701)
    assert len(set(await search("word", top_k=100))) == 100


async def test_other_sizes_make_other_chunks_and_are_remembered(write: Write, build: BuildShop) -> None:
    write({"long.txt": "one two three four. " * 100})
    assert counts(await build()) == (1, 0, 0, 2)
    small = Splitting(chunk_chars=200, overlap_chars=20)
    first = await build(splitting=small)
    assert first.indexed == 1
    assert first.chunks > 8
    assert counts(await build()) == (0, 1, 0, first.chunks)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"model": "other"}, "was built with the model `echo`, not with `other`"),
        ({"connection": "mail"}, "was built with the embedding connection `open`, not with `mail`"),
        ({"dimensions": 16}, "was built with the dimensions `8`, not with `16`"),
        ({"store": "far"}, "was built with no store connection, not with `far`"),
    ],
)
async def test_an_index_of_another_model_is_refused(
    write: Write, build: BuildShop, wanted: dict[str, object], text: str
) -> None:
    write(FILES)
    await build(**VECTORS)
    with pytest.raises(ProblemFound, match=text) as error:
        await build(**wanted)
    assert "penstock knowledge drop shop first" in error.value.hint
    assert counts(await build()) == (0, 3, 0, 3)


async def test_a_model_that_makes_other_vectors_than_before_is_refused(
    write: Write, build: BuildShop, search: Search, shelf: Shelf
) -> None:
    write(FILES)
    await build(**VECTORS)
    path = shelf.folder("shop") / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "asked_dimensions": 4}))
    text = "makes vectors of 4 numbers, the index of the knowledge base `shop` holds 8: build it anew"
    with pytest.raises(ModelRefused, match=text):
        await search("tea")
    write({"tea.md": "other"})
    with pytest.raises(ModelRefused, match=text):
        await build()
    path.write_text(json.dumps(manifest))
    assert "tea.md:2" in await search("tea"), "nothing was lost"


async def test_a_failed_first_build_leaves_nothing_behind(write: Write, build: BuildShop, shelf: Shelf) -> None:
    write(FILES)
    with pytest.raises(ModelRefused, match="is not there"):
        await build(connection="open", model="nobody")
    with pytest.raises(UpstreamUnavailable):
        await build(connection="open", model="short")
    assert shelf.names == []
    assert counts(await build(**VECTORS, dimensions=5)) == (3, 0, 0, 3)
    assert shelf.read("shop").dimensions == 5


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"connection": "open"}, "an embedding model has a connection and a name"),
        ({"model": "echo"}, "an embedding model has a connection and a name"),
        ({"store": "milvus"}, "vectors need an embedding model"),
        ({"connection": "nobody", "model": "echo"}, "there is no connection `nobody`"),
        ({"connection": "mail", "model": "echo"}, "which leads to no model"),
        (
            {**VECTORS, "store": "open"},
            "is of the type `open_ai`, which leads to no store of vectors",
        ),
        ({"name": "../shop"}, "is no name of a knowledge base"),
        ({"name": "a b"}, "is no name of a knowledge base"),
    ],
)
async def test_what_cannot_be_built_is_told(write: Write, build: BuildShop, wanted: dict[str, str], text: str) -> None:
    write(FILES)
    with pytest.raises(ProblemFound, match=text):
        await build(**wanted)


async def test_a_folder_without_documents_is_refused_and_removes_nothing(
    write: Write, build: BuildShop, tmp_path: Path
) -> None:
    with pytest.raises(ProblemFound, match="there is no folder"):
        await build()
    folder = write({"code.py": "x"})
    with pytest.raises(ProblemFound, match="holds no documents"):
        await build()
    write(FILES)
    await build()
    for path in [*folder.rglob("*.*")]:
        path.unlink()
    with pytest.raises(ProblemFound, match="holds no documents"):
        await build()


async def test_two_builds_at_once_are_one_too_many(write: Write, build: BuildShop, shelf: Shelf) -> None:
    write(FILES)
    folder = shelf.folder("shop")
    folder.mkdir(parents=True)
    other = held(f"import fcntl\nfile = open({str(folder / 'lock')!r}, 'w')\nfcntl.flock(file, fcntl.LOCK_EX)")
    with other, pytest.raises(ProblemFound, match="another build of the knowledge base `shop` is at work"):
        await build()
    assert counts(await build()) == (3, 0, 0, 3)


async def test_words_are_searched_while_a_build_writes(write: Write, build: BuildShop, search: Search) -> None:
    write(FILES)
    await build()
    write({f"{number}.md": "tea " * 50 for number in range(200)})
    work = asyncio.create_task(build())
    while not work.done():
        assert "guide/milk.html:1" in await search("milk")
    assert counts(await work)[0] == 200


async def test_an_index_that_another_process_has_open_is_told(write: Write, build: BuildShop, shelf: Shelf) -> None:
    write(FILES)
    await build(**VECTORS)
    other = held(f"import pymilvus\npymilvus.MilvusClient({str(shelf.folder('shop') / 'vectors.db')!r})")
    with other, pytest.raises(UpstreamUnavailable, match="another process, a server perhaps, has it open"):
        await build()
    assert counts(await build()) == (0, 3, 0, 3)


async def test_what_is_dropped_can_be_built_otherwise(
    write: Write, build: BuildShop, shelf: Shelf, connections: Connections
) -> None:
    write(FILES)
    await build(**VECTORS)
    building.drop("shop", shelf, connections)
    assert (shelf.names, shelf.folder("shop").exists()) == ([], False)
    assert counts(await build()) == (3, 0, 0, 3)
    with pytest.raises(ProblemFound, match="there is no knowledge base `shpo`") as error:
        building.drop("shpo", shelf, connections)
    assert error.value.hint == "did you mean `shop`?"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "files": 5, "splitting": {}}'])
async def test_a_manifest_that_is_none_is_told(write: Write, build: BuildShop, shelf: Shelf, text: str) -> None:
    write(FILES)
    await build()
    (shelf.folder("shop") / "manifest.json").write_text(text)
    with pytest.raises(ProblemFound, match="the manifest of the knowledge base cannot be read") as error:
        await build()
    assert "build it anew" in error.value.hint


async def test_an_index_on_a_server_has_a_name_of_its_own(
    write: Write,
    build: BuildShop,
    shelf: Shelf,
    connections: Connections,
    milvus: MilvusConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connections._made, "far", milvus)
    write(FILES)
    assert counts(await build(**VECTORS, store="far")) == (3, 0, 0, 3)
    assert counts(await build("other-shop", **VECTORS, store="far")) == (3, 0, 0, 3)
    first, second = shelf.read("shop").collection, shelf.read("other-shop").collection
    assert first.startswith("penstock_shop_")
    assert second.startswith("penstock_other_shop_")
    building.drop("shop", shelf, connections)
    assert counts(await build("other-shop")) == (0, 3, 0, 3)
