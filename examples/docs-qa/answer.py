"""Answers out of the passages that were found, in a stream: a model writes the answer, or the best passage is it."""

import os
import re
from collections.abc import Iterator
from typing import Any

from penstock.connections import OpenAIConnection
from penstock.flow import tool

CJK = "\u3400-\u9fff"
WIDE = CJK + "\u3000-\u303f\uff00-\uffef"
"""Chinese characters, with their punctuation."""

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")

INSTRUCTIONS = (
    "You answer questions about Penstock, a server for LLM application flows, out of the passages below and nothing"
    " else. Answer in the language of the question, briefly, and name the page that you used. If the passages do not"
    " answer the question, say so."
)

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
def answer(question: str, passages: list[dict[str, Any]], connection: OpenAIConnection | None = None) -> Iterator[str]:
    """The answer in pieces of a word or so."""
    words = WORDS["zh" if re.search(f"[{CJK}]", question) else "en"]
    if passages and connection and has_model(connection):
        yield from _written(question, passages, connection)
    else:
        yield from re.findall(rf"[{WIDE}]{{1,4}}\s*|[^\s{WIDE}]+\s*|\s+", _quoted(passages, words))


def has_model(connection: OpenAIConnection) -> bool:
    """Whether somebody has said which model to ask: OpenAI itself wants a key, other servers may not."""
    return bool(connection.api_key) or "api.openai.com" not in str(connection.base_url)


def _written(question: str, passages: list[dict[str, Any]], connection: OpenAIConnection) -> Iterator[str]:
    """What the model writes. When the caller leaves, this is closed, and the request with it."""
    from openai import OpenAI  # needs penstock[openai], and only here

    shown = "\n\n".join(f"{each['title']} ({each['page']})\n{each['text']}" for each in passages)
    with OpenAI(api_key=connection.api_key or "none", base_url=connection.base_url) as client:
        chunks = client.chat.completions.create(
            model=MODEL,
            messages=[
                {"role": "system", "content": f"{INSTRUCTIONS}\n\n{shown}"},
                {"role": "user", "content": question},
            ],
            stream=True,
        )
        with chunks:
            pieces = (chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
            yield from filter(None, pieces)


def _quoted(passages: list[dict[str, Any]], words: dict[str, str]) -> str:
    """The best passage, and where it stands."""
    if not passages:
        return words["nothing"]
    best, *others = passages
    lines = [best["text"], "", f"{words['source']}: {best['title']} ({best['page']})"]
    if others:
        lines.append(f"{words['more']}: " + "; ".join(f"{other['title']} ({other['page']})" for other in others))
    return "\n".join(lines)
