"""The questions that examples/docs-qa is there to answer."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

FLOW = Path(__file__).parents[2] / "examples/docs-qa"


@pytest.fixture(scope="module")
def flow() -> Iterator[tuple[ModuleType, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FLOW)
        yield import_module("retrieve"), import_module("quote")
        del sys.modules["retrieve"], sys.modules["quote"]


Modules = tuple[ModuleType, ModuleType]


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What is Penstock?", "What Penstock is"),
        ("How do I stream an answer?", "Stream an answer with server-sent events (SSE)"),
        ("Does it support SSE?", "Stream an answer with server-sent events (SSE)"),
        ("how can i call it over grpc", "Call a flow over gRPC"),
        ("Which licence does it have?", "Python version, dependencies and licence (license)"),
        ("How do I change the port?", "Ports and addresses"),
        ("What happens if my flow raises an exception?", "When the flow's own code raises an exception"),
        ("Penstock 是什么？", "Penstock 是什么"),
        ("怎么流式接收答案？", "用 SSE 流式接收答案"),
        ("怎么把多轮对话串起来？", "用会话把多轮对话串起来"),
        ("端口被占用了怎么办？", "端口与地址"),
        ("令牌怎么设置？", "设置令牌：认证"),
    ],
)
def test_a_question_finds_its_passage(flow: Modules, question: str, title: str) -> None:
    retrieve, _ = flow
    assert retrieve.retrieve(question, [])[0]["title"] == title


@pytest.mark.parametrize(
    "question", ["What is the weather in Paris?", "", '"*(', "今天天气怎么样？", "你好", "?" * 5000]
)
def test_a_question_about_something_else_finds_nothing_and_is_told_so(flow: Modules, question: str) -> None:
    retrieve, quote = flow
    assert retrieve.retrieve(question, []) == []
    assert "".join(quote.quote(question, [])).startswith(("I know Penstock's own documentation", "我只读过"))


def test_a_follow_up_is_understood_from_the_round_before(flow: Modules) -> None:
    retrieve, _ = flow
    before = [{"inputs": {"question": "How do I stream an answer?"}, "outputs": {"answer": "…"}}]
    assert retrieve.retrieve("Could you explain that to me?", []) == []
    assert retrieve.retrieve("Could you explain that to me?", before)[0]["page"] == "en/streaming.md"


@pytest.mark.parametrize("question", ["How do I stream an answer?", "怎么流式接收答案？"])
def test_the_answer_names_its_source_and_comes_in_small_pieces(flow: Modules, question: str) -> None:
    retrieve, quote = flow
    passages = retrieve.retrieve(question, [])
    pieces = list(quote.quote(question, passages))
    whole = "".join(pieces)
    assert whole.startswith(passages[0]["text"])
    assert passages[0]["page"] in whole
    assert len(pieces) > 20
    assert max(map(len, pieces)) < 60


def test_every_page_is_there_in_both_languages() -> None:
    english = {file.name: file.read_text().count("\n## ") for file in FLOW.glob("knowledge/en/*.md")}
    chinese = {file.name: file.read_text().count("\n## ") for file in FLOW.glob("knowledge/zh/*.md")}
    assert english == chinese
