"""Words to search by: text becomes tokens that every database indexes alike.

Each database's own idea of a word differs: none finds a Chinese word of two characters, and each has stop words,
shortest words and characters of its own. So we make the words, and hand over tokens in which there is nothing left to
interpret: 3 to 60 of `a-z 0-9`, beginning with an `x` that no stop word begins with, with a space between them.

- A token is a word as `penstock_server.words` splits text, or a character or pair of neighbours of a script without
  spaces. A query's run of such characters is looked for by its pairs, a single character by itself.
- The user, the session and the flow of a message are tokens too, and so is the status of an answer's run. A search
  among them is an intersection inside the index.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from penstock_server.runs.events import RunStatus
from penstock_server.words import folded, pairs, split

INDEXED_CHARS_MAX = 16_384
"""How much of a message can be found: its first characters. What a pasted book holds after them is not."""
TOKEN_CHARS_MAX = 60
DIGEST_BYTES = 10

WORD, DIGEST, SPACELESS, USER, SESSION, FLOW, STATUS = "xw", "xd", "xc", "xu", "xs", "xf", "xt"


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
    runs, words = split(text)
    yield from map(_word, set(words))
    for piece in {piece for run in runs for piece in (*run, *pairs(run))}:
        yield _piece(piece)


def _looked_for(text: str) -> list[str]:
    runs, words = split(text)
    pieces = [piece for run in runs for piece in pairs(run) or [run]]
    return [*map(_word, dict.fromkeys(words)), *map(_piece, dict.fromkeys(pieces))]


def _normal(text: str) -> str:
    return folded(text)[:INDEXED_CHARS_MAX]


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
