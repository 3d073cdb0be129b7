"""Words in text of any script, for indexes that are searched by words.

A word is a run of letters, digits and marks, compared by NFKC and case folding (Unicode's NFKC_Casefold). Scripts that
are written without spaces have none: there, a run of such characters is found by its characters and by each pair of
neighbours.
"""

import re
from collections.abc import Iterator
from operator import add
from unicodedata import category, normalize

_SPACELESS = re.compile(
    "["
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u312f\u31a0-\u31ff"  # 々〆〇, kana, bopomofo
    "\u1100-\u11ff\uac00-\ud7ff"  # Hangul
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "]+"
)
_MARKS = "".join(chr(code) for code in range(0x300, 0x3000) if category(chr(code)) in ("Mn", "Mc"))
_WORD = re.compile(f"[^\\W_][\\w{_MARKS}]*")
_ASCII_WORD = re.compile("[a-z0-9]+")


def indexed(text: str) -> Iterator[str]:
    """The words by which a text is found, as often as they come."""
    runs, words = split(folded(text))
    for run in runs:
        yield from run
        yield from pairs(run)
    yield from words


def looked_for(query: str) -> list[str]:
    """The words to look for, each once: of a run without spaces its pairs, or the one character that it is."""
    runs, words = split(folded(query))
    pieces = [piece for run in runs for piece in pairs(run) or [run]]
    return list(dict.fromkeys([*pieces, *words]))


def folded(text: str) -> str:
    """The text as it is compared."""
    return text.lower() if text.isascii() else normalize("NFKC", normalize("NFKC", text).casefold())


def split(text: str) -> tuple[list[str], list[str]]:
    """The runs without spaces in a folded text, and the words of the rest."""
    if text.isascii():
        return [], _ASCII_WORD.findall(text)
    text = text.replace("_", " ")
    return _SPACELESS.findall(text), _WORD.findall(_SPACELESS.sub(" ", text))


def pairs(run: str) -> list[str]:
    """Each two neighbours of a run."""
    return list(map(add, run, run[1:]))
