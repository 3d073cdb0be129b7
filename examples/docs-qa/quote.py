"""Answers with the best of the passages that were found, in a stream."""

import re
from collections.abc import Iterator
from typing import Any

from penstock.flow import tool

CJK = "\u3400-\u9fff"
WIDE = CJK + "\u3000-\u303f\uff00-\uffef"
"""Chinese characters, with their punctuation."""

WORDS = {
    "en": {
        "source": "Source",
        "more": "See also",
        "nothing": "I know Penstock's own documentation and nothing else, and I find nothing about that in it. "
        "You could ask: How do I stream an answer? How do I write a flow? How do I keep a conversation together?",
    },
    "zh": {
        "source": "出处",
        "more": "另见",
        "nothing": "我只读过 Penstock 自己的文档，里面没有找到相关内容。"
        "可以试着问我：怎么流式接收答案？怎么写一个流程？怎么把多轮对话串起来？",
    },
}


@tool
def quote(question: str, passages: list[dict[str, Any]]) -> Iterator[str]:
    """The answer in pieces of a word or so."""
    words = WORDS["zh" if re.search(f"[{CJK}]", question) else "en"]
    yield from re.findall(rf"[{WIDE}]{{1,4}}\s*|[^\s{WIDE}]+\s*|\s+", _quoted(passages, words))


def _quoted(passages: list[dict[str, Any]], words: dict[str, str]) -> str:
    """The best passage, and where it stands."""
    if not passages:
        return words["nothing"]
    best, *others = passages
    lines = [best["text"], "", f"{words['source']}: {best['title']} ({best['page']})"]
    if others:
        lines.append(f"{words['more']}: " + "; ".join(f"{other['title']} ({other['page']})" for other in others))
    return "\n".join(lines)
