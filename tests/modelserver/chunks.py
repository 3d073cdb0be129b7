"""The JSON of answers, whole and in chunks."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]

CREATED = 1_700_000_000
DONE = b"data: [DONE]\n\n"


def message(text: str, calls: Sequence[Json], function_call: Json | None = None) -> Json:
    """The message of the assistant."""
    if function_call:
        return {"role": "assistant", "content": None, "function_call": function_call}
    return {"role": "assistant", "content": None if calls else text} | ({"tool_calls": list(calls)} if calls else {})


def completion(model: str, said: Json, usage: tuple[int, int], finish: str | None = None) -> Json:
    """A whole answer."""
    reason = finish or ("tool_calls" if said.get("tool_calls") else "stop")
    choice = {"index": 0, "message": said, "finish_reason": reason, "logprobs": None}
    return _head("chat.completion", model) | {"choices": [choice], "usage": _usage(*usage)}


def text_completion(model: str, text: str, usage: tuple[int, int] | None = None) -> Json:
    """An answer of the older protocol, or a chunk of one."""
    choice = {"index": 0, "text": text, "finish_reason": "stop" if usage else None, "logprobs": None}
    return _head("text_completion", model) | {"choices": [choice]} | ({"usage": _usage(*usage)} if usage else {})


class Chunks:
    """The chunks of an answer to one request."""

    def __init__(self, body: Json, calls: Sequence[Json]) -> None:
        self._model = body["model"]
        self._usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._calls = calls

    def all(self, tokens: Sequence[str], prompt_tokens: int) -> Iterator[Json]:
        """The role, each token or each part of a tool call, the reason of the end, and the usage if asked for."""
        yield self._chunk({"role": "assistant", "content": ""})
        for token in tokens:
            yield self._chunk({"content": token})
        for index, call in enumerate(self._calls):
            arguments = call["function"]["arguments"]
            empty = {**call["function"], "arguments": ""}
            yield self._chunk({"tool_calls": [{**call, "index": index, "function": empty}]})
            for part in (arguments[:5], arguments[5:]):
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        yield self._chunk({}, self._reason())
        if self._usage:
            yield _head("chat.completion.chunk", self._model) | {
                "choices": [],
                "usage": _usage(prompt_tokens, len(tokens)),
            }

    @staticmethod
    def encoded(chunk: Json) -> bytes:
        """As an event."""
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"

    def _reason(self) -> str:
        if self._model == "filtered-answer":
            return "content_filter"
        return "tool_calls" if self._calls else "stop"

    def _chunk(self, delta: Json, reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        head = _head("chat.completion.chunk", self._model)
        return head | {"choices": [choice]} | ({"usage": None} if self._usage else {})


def _head(kind: str, model: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": CREATED, "model": model}


def _usage(prompt: int, answer: int) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
