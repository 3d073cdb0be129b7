"""What the model says: always the same to the same question."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

COUNT = re.compile(r"count-(\d+)(?:-at-(\d+))?")
"""The model `count-200` says 200 tokens, and `count-200-at-50` 50 of them a second."""


def said(body: Json) -> str:
    """The whole text of the answer to a chat request."""
    text = asked(body["messages"])
    count = COUNT.fullmatch(body["model"])
    if count:
        return " ".join(f"t{number}" for number in range(int(count[1])))
    form = body.get("response_format", {})
    if form.get("type") == "json_object":
        return json.dumps({"said": text})
    if form.get("type") == "json_schema":
        return json.dumps(_filled(form["json_schema"]["schema"], text))
    if body["model"] == "roles":
        return " | ".join(f"{each['role']}: {asked([each], role=each['role'])}" for each in body["messages"])
    return f"You said: {text}"


def asked(messages: Sequence[Json], role: str = "user") -> str:
    """The text of the last message of a role, trimmed; an image in it is told by its type and size."""
    content = next((each.get("content") for each in reversed(messages) if each["role"] == role), "") or ""
    return (content if isinstance(content, str) else "".join(map(_part, content))).strip()


def tool_calls(body: Json) -> list[dict[str, Any]]:
    """A call of every tool, with the question as each of its arguments; of `bad-arguments` they are no JSON."""
    if body["model"] not in ("tools", "bad-arguments") or any(each["role"] == "tool" for each in body["messages"]):
        return []
    text = asked(body["messages"])
    calls = []
    for number, tool in enumerate(body.get("tools", ())):
        schema = tool["function"].get("parameters", {})
        arguments = json.dumps(_filled(schema, text)) if body["model"] == "tools" else '{"broken": '
        function = {"name": tool["function"]["name"], "arguments": arguments}
        calls.append({"id": f"call_{number}", "type": "function", "function": function})
    return calls


def function_call(body: Json) -> dict[str, str] | None:
    """The same for `functions`, of which the first one is called."""
    if body["model"] != "tools" or not body.get("functions"):
        return None
    arguments = _filled(body["functions"][0].get("parameters", {}), asked(body["messages"]))
    return {"name": body["functions"][0]["name"], "arguments": json.dumps(arguments)}


def tokens(text: str) -> list[str]:
    """The text in words, each with the space after it."""
    return re.findall(r"\S+\s*|\s+", text)


def token_count(body: Json) -> int:
    """How many words a request holds."""
    texts = [asked([each], role=each["role"]) for each in body.get("messages", ())] or [str(body.get("prompt", ""))]
    return sum(len(text.split()) for text in texts)


def vector(text: str, dimensions: int = 8) -> list[float]:
    """The embedding of a text: how often each letter comes, folded into the dimensions, of length 1."""
    counts = [0.0] * dimensions
    for letter in text.lower():
        counts[ord(letter) % dimensions] += 1.0
    length = sum(count * count for count in counts) ** 0.5 or 1.0
    return [count / length for count in counts]


def _part(part: Json) -> str:
    if part["type"] != "image_url":
        return str(part["text"])
    url = part["image_url"]["url"]
    head, _, data = url.partition(";base64,")
    return f"[{head.removeprefix('data:')}, {len(data)} characters]" if data else f"[{url}]"


def _filled(schema: Json, text: str) -> Any:
    """A value of a JSON Schema: every text in it is the question."""
    match schema.get("type", "object"):
        case "string":
            return text
        case "array":
            return [_filled(schema.get("items", {"type": "string"}), text)]
        case "object":
            return {key: _filled(each, text) for key, each in schema.get("properties", {}).items()}
        case kind:
            return {"integer": 1, "number": 1.5, "boolean": True}.get(kind)
