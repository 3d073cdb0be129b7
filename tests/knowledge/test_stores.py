"""What every store promises, asked of each; a new store is one more line of `STORES`."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.connections import MilvusConnection
from penstock_server.errors import UpstreamUnavailable
from penstock_server.flows.knowledge import stores
from penstock_server.flows.knowledge.chunks import Chunk
from penstock_server.flows.knowledge.store import Filters, Place, Query, Store
from penstock_server.flows.problems import ProblemFound

STORES = ("keywords", "milvus", "milvus on a server")

WORDS = ("tea", "milk", "sugar")
ODD = ('we"ird\\.md', "a'b.md", "guide/100%_.md", "q} or 1==1.md", "指南/退货.md", "guide0.md")
"""Names that a language of queries could trip over."""


def chunk(source: str, text: str, number: int = 0) -> Chunk:
    return Chunk(source=source, number=number, line=number + 1, title="Title", text=text)


def vector(text: str) -> list[float]:
    return [1.0 + 5 * text.split().count(word) for word in WORDS]


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    connection = request.getfixturevalue("milvus") if request.param == "milvus on a server" else None
    dimensions = 0 if request.param == "keywords" else len(WORDS)
    collection = f"test_{abs(hash(tmp_path))}"
    return Place(name="shop", folder=tmp_path, collection=collection, dimensions=dimensions, connection=connection)


@pytest.fixture
def opened(place: Place) -> Iterator[Callable[[], Store]]:
    """Opens the store; another time, too."""
    found: list[Store] = []

    def open_store() -> Store:
        found.append(stores.of("milvus" if place.dimensions else "keywords")(place))
        return found[-1]

    yield open_store
    for store in found:
        store.close()


def fill(store: Store, chunks: list[Chunk]) -> None:
    store.insert(chunks, [vector(each.text) for each in chunks])


def found(store: Store, text: str, top_k: int = 10, **filters: tuple[str, ...]) -> list[Chunk]:
    query = Query(text=text, vector=vector(text), top_k=top_k, filters=Filters(**filters))
    hits = store.search(query)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    return [hit.chunk for hit in hits]


def test_what_fits_best_comes_first_and_whole(opened: Callable[[], Store]) -> None:
    store = opened()
    chunks = [chunk("a.md", "tea tea milk"), chunk("a.md", "milk", 1), chunk("b.md", "sugar \"'\n退货")]
    fill(store, chunks)
    assert store.count() == 3
    assert found(store, "sugar")[0] == chunks[2]
    assert found(store, "milk")[0] == chunks[1]
    assert len(found(store, "tea milk sugar", top_k=2)) == 2


def test_what_is_deleted_is_not_found(opened: Callable[[], Store]) -> None:
    store = opened()
    fill(store, [chunk(name, "tea", number) for name in ODD for number in range(3)])
    store.delete(ODD[:-1])
    store.delete(["never there.md"])
    assert store.count() == 3
    assert {each.source for each in found(store, "tea")} == {ODD[-1]}


@pytest.mark.parametrize("name", ODD)
def test_filters_take_a_name_as_it_is(opened: Callable[[], Store], name: str) -> None:
    store = opened()
    fill(store, [chunk(each, "tea") for each in ODD])
    assert [each.source for each in found(store, "tea", source=(name,))] == [name]
    assert found(store, "tea", title=("Title",), source=(name,))
    assert found(store, "tea", title=(name,)) == []


def test_a_folder_is_what_lies_in_it(opened: Callable[[], Store]) -> None:
    store = opened()
    fill(store, [chunk(each, "tea") for each in ("guide/a.md", "guide/b/c.md", "guide.md", "guide0.md", "guides/x.md")])
    both = found(store, "tea", source=("guide/",))
    assert {each.source for each in both} == {"guide/a.md", "guide/b/c.md"}
    three = found(store, "tea", source=("guide/", "guide0.md"))
    assert {each.source for each in three} == {"guide/a.md", "guide/b/c.md", "guide0.md"}


def test_few_among_many_are_found(opened: Callable[[], Store]) -> None:
    store = opened()
    for begin in range(0, 3000, 500):
        fill(store, [chunk(f"{number}.md", "tea") for number in range(begin, begin + 500)])
    store.close()  # milvus-lite makes its index when it loads
    store = opened()
    for number in (0, 1234, 2999):
        assert [each.source for each in found(store, "tea", source=(f"{number}.md",))] == [f"{number}.md"]


def test_it_is_still_there_when_opened_again(opened: Callable[[], Store]) -> None:
    store = opened()
    fill(store, [chunk("a.md", "tea")])
    store.close()
    assert [each.source for each in found(opened(), "tea")] == ["a.md"]


def test_two_in_one_process_do_not_end_one_another(opened: Callable[[], Store]) -> None:
    first, second = opened(), opened()
    fill(first, [chunk("a.md", "tea")])
    first.close()
    assert second.count() == 1


def test_many_threads_search_at_once(opened: Callable[[], Store]) -> None:
    store = opened()
    fill(store, [chunk(f"{number}.md", WORDS[number % 3]) for number in range(30)])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda word: {each.text for each in found(store, word)}, WORDS * 20))
    assert answers == [{word} for word in WORDS * 20]


def test_what_is_dropped_is_gone(opened: Callable[[], Store]) -> None:
    store = opened()
    fill(store, [chunk("a.md", "tea")])
    store.drop()
    store.close()
    assert opened().count() == 0


def test_nothing_is_found_in_nothing(opened: Callable[[], Store]) -> None:
    store = opened()
    assert (store.count(), found(store, "tea")) == (0, [])


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("退货", "b.md"),  # a word of two characters
        ("怎么退货？", "b.md"),
        ("茶", "c.md"),
        ("RETURNING", "a.md"),  # by its stem
        ("ｒｅｔｕｒｎ", "a.md"),
        ("ラーメン", "d.md"),
        ('"a" OR b* NEAR(', "e.md"),  # nothing of it is FTS5's language
    ],
)
def test_words_of_every_script_are_found(tmp_path: Path, query: str, best: str) -> None:
    store = stores.of("keywords")(Place(name="shop", folder=tmp_path))
    texts = ("How to return a parcel", "七天之内可以退货", "绿茶和红茶", "ラーメン屋", "a or b near")
    store.insert([chunk(f"{name}.md", text) for name, text in zip("abcde", texts, strict=True)], [])
    assert found(store, query)[0].source == best
    assert found(store, "?! ") == []
    assert store.search(Query(text="parcel " * 100_000)) != []
    store.close()


def test_a_package_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "penstock_server.flows.knowledge.milvus", raising=False)
    monkeypatch.setitem(sys.modules, "milvus_lite.server_manager", None)
    with pytest.raises(ProblemFound, match="the index needs the package `milvus_lite") as error:
        stores.of("milvus")
    assert error.value.hint == "pip install 'penstock[milvus]'"
    with pytest.raises(ProblemFound, match="there is no kind of index `lucene`"):
        stores.of("lucene")


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    nowhere = MilvusConnection(name="far", uri="http://127.0.0.1:1", token="not-to-be-shown")
    with pytest.raises(UpstreamUnavailable, match=r"Milvus at http://127\.0\.0\.1:1 says") as error:
        stores.of("milvus")(Place(name="shop", folder=tmp_path, collection="c", dimensions=3, connection=nowhere))
    assert error.value.metadata == {"knowledge": "shop", "connection": "far"}
    assert "not-to-be-shown" not in str(error.value)


def test_other_dimensions_are_told(tmp_path: Path) -> None:
    open_store = stores.of("milvus")
    open_store(Place(name="shop", folder=tmp_path, dimensions=3)).close()
    with pytest.raises(UpstreamUnavailable, match="holds vectors of 3 numbers, not of 4: drop and build it anew"):
        open_store(Place(name="shop", folder=tmp_path, dimensions=4))
    open_store(Place(name="shop", folder=tmp_path, dimensions=3)).close()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("guide/", "must be an object"),
        ({"sources": "a"}, "has no `sources`; did you mean `source`?"),
        ({"source": 5}, "`source` must be a text, or a list of texts"),
        ({"title": ["a", None]}, "`title` must be a text, or a list of texts"),
    ],
)
def test_filters_that_are_none_are_told(value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("?", r"\?")):
        Filters.of(value)


def test_filters_are_texts_or_lists_and_may_be_empty() -> None:
    assert Filters.of({"source": "a", "title": ["b", ""]}) == Filters(source=("a",), title=("b",))
    assert Filters.of(None) == Filters.of({}) == Filters.of("") == Filters.of({"source": ""}) == Filters()
