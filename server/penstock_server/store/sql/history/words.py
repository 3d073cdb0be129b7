"""Words to search by: text becomes tokens that every database indexes alike.

Each database's own idea of a word differs: none finds a Chinese word of two characters, and each has stop words,
shortest words and characters of its own. So we make the words, and hand over tokens in which there is nothing left to
interpret: 3 to 60 of `a-z 0-9`, beginning with an `x` that no stop word begins with, with a space between them.

- A word is a run of letters, digits and marks, compared by NFKC and case folding (Unicode's NFKC_Casefold).
- Text in scripts that are written without spaces has no such words: there, each character and each pair of neighbours
  is a token. A query's run of such characters is looked for by its pairs, a single character by itself.
- The user, the session and the flow of a message are tokens too, and so is the status of an answer's run. A search
  among them is an intersection inside the index.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from operator import add
from unicodedata import category, normalize

from penstock_server.runs.events import RunStatus

INDEXED_CHARS_MAX = 16_384
"""How much of a message can be found: its first characters. What a pasted book holds after them is not."""
TOKEN_CHARS_MAX = 60
DIGEST_BYTES = 10

WORD, DIGEST, SPACELESS, USER, SESSION, FLOW, STATUS = "xw", "xd", "xc", "xu", "xs", "xf", "xt"

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


def of_message(text: str, *, user: str, session: str, flow: str, status: RunStatus | None) -> str:
    """The tokens by which a message is found, with a space between them; each once."""
    return " ".join([*_scope(user, session, flow, status), *_indexed(_normal(text[:INDEXED_CHARS_MAX]))])


def of_query(
    query: str, *, user: str = "", session: str = "", flow: str = "", status: RunStatus | None = None
) -> list[str]:
    """The tokens that a message must hold to be found; none at all if the query holds no word.

    Args:
        query: what is looked for.
        user: look among the messages of this user; empty for all. So with `session`, `flow` and `status`.
    """
    words = _looked_for(_normal(query))
    return [*_scope(user, session, flow, status), *words] if words else []


def _scope(user: str, session: str, flow: str, status: RunStatus | None) -> list[str]:
    # The rarest first: MySQL looks for them one after the other.
    named = ((SESSION, session), (USER, user), (FLOW, flow), (STATUS, status.name if status else ""))
    return [kind + _digest(name) for kind, name in named if name]


def _indexed(text: str) -> Iterable[str]:
    runs, words = _split(text)
    yield from map(_word, set(words))
    for piece in {piece for run in runs for piece in (*run, *_pairs(run))}:
        yield _piece(piece)


def _looked_for(text: str) -> list[str]:
    runs, words = _split(text)
    pieces = [piece for run in runs for piece in _pairs(run) or [run]]
    return [*map(_word, dict.fromkeys(words)), *map(_piece, dict.fromkeys(pieces))]


def _normal(text: str) -> str:
    if text.isascii():
        return text.lower()
    return normalize("NFKC", normalize("NFKC", text).casefold())[:INDEXED_CHARS_MAX]


def _split(text: str) -> tuple[list[str], list[str]]:
    """The runs without spaces in them, and the words of the rest."""
    if text.isascii():
        return [], _ASCII_WORD.findall(text)
    text = text.replace("_", " ")
    return _SPACELESS.findall(text), _WORD.findall(_SPACELESS.sub(" ", text))


def _pairs(run: str) -> list[str]:
    return list(map(add, run, run[1:]))


@lru_cache(maxsize=16_384)
def _word(word: str) -> str:
    if word.isascii() and len(WORD) + len(word) <= TOKEN_CHARS_MAX:
        return WORD + word
    return DIGEST + _digest(word)


@lru_cache(maxsize=65_536)
def _piece(piece: str) -> str:
    return SPACELESS + piece.encode("utf-16-be").hex()


def _digest(name: str) -> str:
    return blake2b(name.encode(), digest_size=DIGEST_BYTES).hexdigest()
