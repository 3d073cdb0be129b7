"""What documents say, by headings and lines, and how they are split."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_server.flows.knowledge import documents
from penstock_server.flows.knowledge.chunks import Chunk, Section
from penstock_server.flows.knowledge.documents import Skipped, Unreadable
from penstock_server.flows.knowledge.splitting import Splitting, chunks


def said(name: str, text: str) -> list[tuple[int, str, str]]:
    found = chunks(name, documents.sections(name, text.encode()), Splitting())
    return [(chunk.line, chunk.title, chunk.text) for chunk in found]


def test_markdown_is_told_apart_by_its_headings() -> None:
    text = """\
---
title: not read
---
Before all.

# Tea #
Green.

## Oolong

Half.

Setext
------
Dashes.

- a list
---
```sh
# no heading
~~~
```
# Milk
### Deep
White."""
    assert said("guide/tea.md", text) == [
        (4, "tea", "Before all."),
        (7, "Tea", "Green."),
        (11, "Tea › Oolong", "Half."),
        (15, "Tea › Setext", "Dashes.\n\n- a list\n---\n```sh\n# no heading\n~~~\n```"),
        (25, "Milk › Deep", "White."),
    ]


def test_html_is_read_as_a_browser_shows_it() -> None:
    text = """\
<!doctype html><html><head><title>Shop
 &amp; more</title><style>p {}</style><meta charset=utf-8>
<body><p>Wel<b>come</b>
<script>document.write("<h1>no</h1>")</script>
<h1>Tea <i>and</i> milk</h1><ul><li>Green</li>

<li>Black &lt;3</ul>
<svg><text>no</text></svg><br/>Last
<h2></h2><h2>Prices</h2><table><tr><td>1</td><td>2</td></table><h3>never closed"""
    assert said("a.html", text) == [
        (3, "Shop & more", "Welcome"),
        (5, "Shop & more › Tea and milk", "Green\nBlack <3\nLast"),
        (9, "Shop & more › Tea and milk › Prices", "1\n2"),
        (9, "Shop & more › Tea and milk › Prices", "never closed"),
    ]


def test_text_has_its_name_for_a_title_and_empty_files_hold_nothing() -> None:
    assert said("notes/all.txt", "\n\nA line\n# no heading\n") == [(3, "all", "A line\n# no heading")]
    assert said("a.txt", "") == said("a.md", " \n\n") == said("a.html", "<p> </p>") == said("b.md", "# Title\n") == []


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        ('charset="gb2312"', "gb18030"),
        ('http-equiv=content-type content="text/html; charset=GBK"', "gbk"),
        ("charset=utf-8", "utf-8"),
        ("charset=unheard-of", "utf-8"),
        ("charset=zlib", "utf-8"),
        ("name=viewport", "utf-8"),
    ],
)
def test_html_may_say_which_encoding_it_has(charset: str, encoding: str) -> None:
    data = f"<meta {charset}><h1>茶</h1>绿茶".encode(encoding)
    assert [each.lines[0][1] for each in documents.sections("a.html", data)] == ["绿茶"]


def test_a_byte_order_mark_is_no_text() -> None:
    assert said("a.md", "\ufeff# Tea\nGreen") == [(2, "Tea", "Green")]


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.sampled_from("ab c\n.。退,\t"), max_size=2000),
    size=st.integers(100, 300),
    share=st.integers(0, 4),
)
def test_chunks_are_bounded_in_order_and_lose_nothing(text: str, size: int, share: int) -> None:
    lines = text.split("\n")
    section = Section(title="t", lines=tuple(enumerate(lines, start=1)))
    splitting = Splitting(chunk_chars=size, overlap_chars=size * share // 16)
    found = chunks("a.txt", [section], splitting)
    at = 0
    for number, chunk in enumerate(found):
        assert chunk.number == number
        assert 0 < len(chunk.text) <= size
        assert lines[chunk.line - 1].strip()
        assert lines[chunk.line - 1].find(chunk.text.split("\n")[0]) >= 0
        begin = text.index(chunk.text, max(0, at - splitting.overlap_chars - size))
        assert text[at:begin].strip() == ""
        at = max(at, begin + len(chunk.text))
    assert text[at:].strip() == ""


def test_chunks_overlap_at_sentences_and_end_with_them() -> None:
    sentence = "The kettle sings at noon today. "
    found = chunks(
        "a.txt",
        [Section(title="t", lines=((1, sentence * 20),))],
        Splitting(chunk_chars=200, overlap_chars=50),
    )
    assert len(found) > 3
    assert all(chunk.text.startswith("The kettle") and chunk.text.endswith("today.") for chunk in found)
    assert sum(len(chunk.text) for chunk in found) > len(sentence * 20) + 50


@pytest.mark.parametrize(("size", "overlap"), [(99, 0), (8001, 0), (400, 101), (400, -1)])
def test_sizes_that_make_no_sense_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        Splitting(chunk_chars=size, overlap_chars=overlap)


def test_a_chunk_is_embedded_with_its_headings() -> None:
    assert Chunk(source="a", number=0, line=1, title="T", text="x").embedded_text == "T\n\nx"


def test_what_is_no_document_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("secret")
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "out.md").symlink_to(tmp_path / "secret.md")
    (folder / "gone.md").symlink_to(folder / "nowhere.md")
    os.mkfifo(folder / "pipe.md")
    (folder / "dir.md").mkdir()
    (folder / "large.md").write_bytes(b"x" * (documents.FILE_BYTES_MAX + 1))
    reasons = {}
    for path in sorted(folder.iterdir()):
        with pytest.raises(Unreadable) as error:
            documents.read(folder, path.name)
        reasons[path.name] = str(error.value)
    assert reasons == {
        "dir.md": "it is no file",
        "gone.md": "no such file or directory",
        "large.md": "it is larger than 16 MiB",
        "out.md": "it leads out of the folder",
        "pipe.md": "it is no file",
    }


def test_the_walk_names_documents_alone(tmp_path: Path) -> None:
    for name in ("b.md", "a.HTML", "x.py", ".hidden.md", ".git/c.md", "sub/d.txt", "sub/e.markdown"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    skipped: list[Skipped] = []
    assert list(documents.walk(tmp_path, skipped)) == ["a.HTML", "b.md", "sub/d.txt", "sub/e.markdown"]
    assert list(documents.walk(tmp_path / "nowhere", skipped)) == []
    assert skipped == [Skipped(source=".", reason="no such file or directory")]


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Unreadable, match="it is not UTF-8"):
        documents.sections("a.md", b"\xff\xfe")
    with pytest.raises(Unreadable, match="it is no text"):
        documents.sections("a.md", b"a\0b")
