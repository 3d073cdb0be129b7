"""Names for versions of a flow's source: the same files give the same name."""

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

FILES_MAX = 10_000
"""How many files of a folder count towards its snapshot."""


def of_folder(folder: Path, bytes_max: int) -> str:
    """The snapshot of a folder: of each regular file its relative path and its bytes.

    `__pycache__` and whatever is hidden do not count. Once `bytes_max` are read, a file's size stands for its bytes.
    """
    digest = hashlib.sha256()
    room = bytes_max
    for count, file in enumerate(_files(folder)):
        if count == FILES_MAX:
            break
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()}\0{size}\0".encode(errors="surrogateescape"))
        if size <= room:
            room -= size
            digest.update(file.read_bytes())
    return _named(digest.digest())


def of_callable(target: Callable[..., Any], function: Callable[..., Any]) -> str:
    """The snapshot of a callable: its module's source file, or its code where there is none."""
    module = sys.modules.get(getattr(target, "__module__", None) or type(target).__module__)
    file = getattr(module, "__file__", None)
    if file and Path(file).is_file():
        return _named(hashlib.sha256(Path(file).read_bytes()).digest())
    code = getattr(inspect.unwrap(function), "__code__", None)
    return _named(hashlib.sha256(_bytes(code) if code else repr(target).encode()).digest())


def _bytes(code: CodeType) -> bytes:
    """What a code object does: its instructions, names and constants, the code of inner functions among them."""
    constants = [_bytes(item) if isinstance(item, CodeType) else repr(item).encode() for item in code.co_consts]
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *constants])


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file():
            yield path


def _named(digest: bytes) -> str:
    return digest.hex()[:_SNAPSHOT_CHARS]


_SNAPSHOT_CHARS = 32
