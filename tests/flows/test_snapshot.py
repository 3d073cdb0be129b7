"""Names for versions of a flow's source."""

import sys
from pathlib import Path

import pytest

from penstock_server.flows import snapshot

MANY = 10**9


@pytest.fixture
def folder(write) -> Path:
    return write({"a.py": "a", "sub/b.txt": "b"})


def test_the_same_files_have_the_same_snapshot(folder, write):
    other = write({"sub/b.txt": "b", "a.py": "a"}, "other")
    assert snapshot.of_folder(folder, MANY) == snapshot.of_folder(other, MANY)


@pytest.mark.parametrize("change", [("a.py", "c"), ("sub/b.txt", "c"), ("new", ""), ("sub/a.py", "a")])
def test_any_change_of_a_file_changes_it(folder, write, change):
    before = snapshot.of_folder(folder, MANY)
    write(dict([change]))
    assert snapshot.of_folder(folder, MANY) != before


def test_what_is_hidden_or_compiled_does_not_count(folder, write):
    before = snapshot.of_folder(folder, MANY)
    write({".git/x": "x", ".env": "x", "__pycache__/a.pyc": "x", "sub/__pycache__/b.pyc": "x"})
    assert snapshot.of_folder(folder, MANY) == before


def test_links_are_not_followed_out_of_the_folder(folder, tmp_path):
    before = snapshot.of_folder(folder, MANY)
    (folder / "loop").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    assert snapshot.of_folder(folder, MANY) == before


def test_large_files_count_by_their_size(folder, write):
    write({"big": "x" * 1000})
    before = snapshot.of_folder(folder, 100)
    write({"big": "y" * 1000})
    assert snapshot.of_folder(folder, 100) == before
    write({"big": "y" * 1001})
    assert snapshot.of_folder(folder, 100) != before


def test_a_callable_is_its_modules_file_or_its_code(monkeypatch, tmp_path):
    module = sys.modules[__name__]
    first = snapshot.of_callable(module.test_large_files_count_by_their_size, test_large_files_count_by_their_size)
    assert first == snapshot.of_callable(module.folder, folder)
    spaces = [{}, {}]
    exec("def f(): return 1", spaces[0])
    exec("def f(): return 2", spaces[1])
    one, two = (snapshot.of_callable(space["f"], space["f"]) for space in spaces)
    assert one != two
