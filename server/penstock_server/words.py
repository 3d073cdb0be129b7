"""Words in text of any script, for indexes that are searched by words.

A word is a run of letters and digits, compared by NFKC and case folding. Scripts that are written without spaces have
none: there, a run of such characters is found by its characters and by each pair of neighbours.
"""

import re
from collections.abc import Iterator
from unicodedata import normalize

_SPACELESS = re.compile(
    "["
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u312f\u31a0-\u31ff"  # 々〆〇, kana, bopomofo
    "\u1100-\u11ff\uac00-\ud7ff"  # Hangul
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "]+"
)
_WORD = re.compile(r"[^\W_]+")


def indexed(text: str) -> Iterator[str]:
    """The words by which a text is found, as often as they come."""
    plain = _folded(text)
    for run in _SPACELESS.findall(plain):
        yield from run
        yield from _pairs(run)
    yield from _spaced(plain)


def looked_for(query: str) -> list[str]:
    """The words to look for, each once: of a run without spaces its pairs, or the one character that it is."""
    plain = _folded(query)
    pieces = [piece for run in _SPACELESS.findall(plain) for piece in _pairs(run) or [run]]
    return list(dict.fromkeys([*pieces, *_spaced(plain)]))


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else normalize("NFKC", normalize("NFKC", text).casefold())


def _spaced(plain: str) -> list[str]:
    return _WORD.findall(_SPACELESS.sub(" ", plain))


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]
