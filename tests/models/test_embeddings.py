from datetime import UTC, datetime

import pytest
from tests.modelserver.answers import vector
from tests.modelserver.server import ModelServer

from penstock_server.errors import ModelRefused, UpstreamUnavailable
from penstock_server.flows.flow import NodeRecord
from penstock_server.flows.models.chat import EmbeddingRequest, Model
from penstock_server.flows.models.usage import current_record


async def test_texts_become_vectors_in_their_order_however_many(model: Model, server: ModelServer) -> None:
    record = NodeRecord(node="embed", start_time=datetime.now(UTC))
    current_record.set(record)
    texts = [f"text {number}" for number in range(25)]
    vectors = await model.embed(EmbeddingRequest(model="echo", texts=texts, settings={"dimensions": 5}))
    assert vectors == [vector(text, 5) for text in texts]
    assert [len(seen.body["input"]) for seen in server.seen] == [10, 10, 5]
    assert (record.input_tokens, record.output_tokens) == (50, 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [("short", "sent other embeddings than the 2"), ("malformed", "embeddings that are not of OpenAI's protocol")],
)
async def test_an_answer_that_is_none_is_told(model: Model, name: str, text: str) -> None:
    with pytest.raises(UpstreamUnavailable, match=text):
        await model.embed(EmbeddingRequest(model=name, texts=["a", "b"]))


async def test_an_unknown_model_is_refused(model: Model) -> None:
    with pytest.raises(ModelRefused, match="is not there"):
        await model.embed(EmbeddingRequest(model="nobody", texts=["a"]))
