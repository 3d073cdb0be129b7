"""An answer put together out of its pieces, which are checked as they come: a server may send anything."""

from collections.abc import Mapping
from typing import Any

import orjson

from penstock_server.flows.models.chat import Answer, Usage
from penstock_server.flows.models.faults import Asked, of_error

DONE = b"[DONE]"
SHAPE_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading JSON of another shape raises."""
TOOL_CALLS_MAX = 256
ANSWER_CHARS_MAX = 16 * 1024 * 1024
"""How long an answer may be: a server that never ends must not fill the memory."""


class Parts:
    """The answer to one request.

    Attributes:
        asked: who was asked.
        answer: what is known so far, without its text.
        done: whether the server has said that nothing follows.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.answer = Answer()
        self.done = False
        self._texts: list[str] = []
        self._chars_left = ANSWER_CHARS_MAX
        self._calls: dict[int, dict[str, Any]] = {}
        self._function: dict[str, str] | None = None
        self._refusal = ""

    def event(self, data: bytes) -> str:
        """Takes the data of an event; returns the piece of text in it, which may be empty.

        Raises:
            UpstreamUnavailable: it is not of the protocol, or tells that the server broke.
            ModelRefused: it tells that another try would not help.
        """
        if data == DONE:
            self.done = True
            return ""
        try:
            event = orjson.loads(data)
            error = event.get("error")
            text = "" if error else self._piece(event)
        except SHAPE_ERRORS:
            raise self.asked.unavailable("sent an event that is not of OpenAI's protocol") from None
        if error:
            raise of_error(self.asked, error)
        if self._chars_left < 0:
            raise self.asked.unavailable(f"sent an answer of more than {ANSWER_CHARS_MAX} characters")
        return text

    def whole(self, body: object) -> None:
        """Takes an answer that came at once. Raises as `event` does."""
        if isinstance(body, Mapping) and body.get("error"):
            raise of_error(self.asked, body["error"])
        try:
            choice = body["choices"][0]  # type: ignore[index]
            message = choice.get("message") or {"content": choice["text"]}
            self._texts.append(message.get("content") or "")
            self._calls = dict(enumerate(map(_call, message.get("tool_calls") or ())))
            self._function = _function(message["function_call"]) if message.get("function_call") else None
            self._refusal = message.get("refusal") or ""
            self._noted(choice, body)
            "".join(self._texts)  # raises for what is no text
        except SHAPE_ERRORS:
            raise self.asked.unavailable("sent an answer that is not of OpenAI's protocol") from None
        self.done = True

    def ended(self, answer: Answer) -> Answer:
        """Fills in the answer, for there is no more.

        Raises:
            UpstreamUnavailable: the end is missing, or the arguments of a call are no JSON.
            ModelRefused: a content filter or the model itself cut it off.
        """
        if not self.done and not self.answer.finish_reason:
            raise self.asked.unavailable("broke off in the middle of its answer")
        answer.text = "".join(self._texts)
        answer.tool_calls = [self._calls[index] for index in sorted(self._calls)]
        answer.function_call = self._function
        answer.finish_reason = self.answer.finish_reason
        answer.usage = self.answer.usage
        self._check(answer)
        return answer

    def _piece(self, event: Mapping[str, Any]) -> str:
        choices = event["choices"]
        if event.get("usage") or not choices:
            self._noted({}, event)
        if not choices or choices[0].get("index"):
            return ""
        choice = choices[0]
        delta = choice.get("delta")
        text = (choice.get("text") if delta is None else delta.get("content")) or ""
        if text:
            self._texts.append("" + text)  # raises for what is no text
            self._chars_left -= len(text)
        if choice.get("finish_reason"):
            self.answer.finish_reason = str(choice["finish_reason"])
        if delta:
            self._refusal += delta.get("refusal") or ""
            for call in delta.get("tool_calls") or ():
                self._add_call(call)
            if delta.get("function_call"):
                self._function = _longer(self._function or {"name": "", "arguments": ""}, delta["function_call"])
        return str(text)

    def _noted(self, choice: Mapping[str, Any], body: Any) -> None:
        self.answer.finish_reason = str(choice.get("finish_reason") or self.answer.finish_reason)
        usage = body.get("usage")
        if usage:
            asked, said = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
            self.answer.usage = Usage(input_tokens=max(0, int(asked)), output_tokens=max(0, int(said)))

    def _add_call(self, part: Mapping[str, Any]) -> None:
        index = int(part.get("index") or 0)
        if index not in self._calls and len(self._calls) >= TOOL_CALLS_MAX:
            raise ValueError
        call = self._calls.setdefault(index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call["id"] = part.get("id") or call["id"]
        call["function"] = _longer(call["function"], part.get("function") or {})

    def _check(self, answer: Answer) -> None:
        if answer.finish_reason == "content_filter":
            raise self.asked.refused("cut its answer off, for a content filter found something in it")
        if self._refusal and not answer.text:
            raise self.asked.refused(f"declined to answer: {self.asked.quoted(self._refusal)}")
        for function in [call["function"] for call in answer.tool_calls] + [answer.function_call or {}]:
            try:
                orjson.loads(function.get("arguments") or "{}")
            except orjson.JSONDecodeError:
                name = self.asked.quoted(function["name"])
                raise self.asked.unavailable(f"called the tool `{name}` with arguments that are not JSON") from None


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": str(call.get("id") or ""), "type": "function", "function": _function(call["function"])}


def _function(function: Mapping[str, Any]) -> dict[str, str]:
    return {"name": str(function["name"]), "arguments": str(function.get("arguments") or "")}


def _longer(function: Mapping[str, str], part: Mapping[str, Any]) -> dict[str, str]:
    return {key: so_far + (part.get(key) or "") for key, so_far in function.items()}
