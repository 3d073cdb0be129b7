"""Finds the passages of knowledge/ that answer a question, with SQLite's full-text search."""

import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from penstock.flow import InvalidInput, tool

KNOWLEDGE = Path(__file__).parent / "knowledge"
"""One folder a language, `en` and `zh`, of Markdown pages; each `##` section of a page is a passage."""

SHARE_MIN = {"en": 0.5, "zh": 0.3}
"""Which part of a question's terms a passage must hold; half of the pairs of Chinese characters lie across words."""

STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about am an and any are as at be but by can could do does for from has have how i if in is it its me my
        need of on or please should so some tell that the their there they this to us use want was we
        what when where which who why will with would you your""",
    )
)
ASKING = re.compile("是什么|为什么|怎么样?|怎样|如何|什么|哪里|哪些|哪个|请问|能不能|可以|一个|吗|呢")
"""What Chinese questions are made of, whatever they ask about."""

CJK = "[\u3400-\u9fff]"

_lock = Lock()


@tool
def retrieve(question: str, chat_history: list[dict[str, Any]], count_max: int = 3) -> list[dict[str, str]]:
    """The passages that answer the question, the best first: `title`, `page` and `text`. None where nothing matches."""
    passages = search(question, count_max)
    if not passages and chat_history:
        # "And with that?" means nothing by itself: it is about what was asked before.
        passages = search(f"{_question(chat_history[-1])} {question}", count_max)
    return passages


def search(question: str, count_max: int) -> list[dict[str, str]]:
    """The passages that hold enough of the question's terms, the best (BM25) first."""
    asked = set(terms(ASKING.sub("", question))) - STOP_WORDS
    if not asked:
        return []
    language = "zh" if re.search(CJK, question) else "en"
    query = " OR ".join(f'"{term}"' for term in sorted(asked))
    with _lock:
        rows = _index().execute(
            "SELECT title, page, text, heading_terms || ' ' || text_terms FROM passage"
            " WHERE passage MATCH ? AND language = ? ORDER BY bm25(passage, 4, 1) LIMIT ?",
            (query, language, count_max),
        )
        found = rows.fetchall()
    return [
        {"title": title, "page": page, "text": text}
        for title, page, text, held in found
        if len(asked & set(held.split())) >= SHARE_MIN[language] * len(asked)
    ]


def terms(text: str) -> list[str]:
    """The words of a text without their endings, and Chinese in pairs of characters: no dictionary is needed."""
    result = []
    for word, run in re.findall(rf"([a-z0-9]{{2,}})|({CJK}+)", text.lower()):
        if word:
            result.append(word if word in STOP_WORDS else re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", word))
        else:
            result += [run[i : i + 2] for i in range(max(1, len(run) - 1))]
    return result


def _question(earlier_round: dict[str, Any]) -> str:
    try:
        return str(earlier_round["inputs"]["question"])
    except (KeyError, TypeError):
        raise InvalidInput('a round is {"inputs": {"question": …}, "outputs": {…}}', input="chat_history") from None


@cache
def _index() -> sqlite3.Connection:
    """The index of all pages, in memory: they are few."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute(
        "CREATE VIRTUAL TABLE passage USING fts5"
        "(heading_terms, text_terms, language UNINDEXED, title UNINDEXED, page UNINDEXED, text UNINDEXED)"
    )
    database.executemany("INSERT INTO passage VALUES (?, ?, ?, ?, ?, ?)", _passages())
    return database


def _passages() -> Iterator[tuple[str, str, str, str, str, str]]:
    for file in sorted(KNOWLEDGE.glob("*/*.md")):
        head, *sections = re.split(r"^## ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        page = head.removeprefix("# ").strip()
        for section in sections:
            heading, _, text = section.partition("\n")
            yield (
                " ".join(terms(f"{page} {heading}")),
                " ".join(terms(text)),
                file.parent.name,
                heading,
                file.relative_to(KNOWLEDGE).as_posix(),
                text.strip(),
            )
