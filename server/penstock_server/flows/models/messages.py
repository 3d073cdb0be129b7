"""The messages of templates, in the protocol's form."""

from typing import Any

from penstock.media import Image
from penstock_server.flows.templates.messages import Message


def to_json(message: Message) -> dict[str, Any]:
    """A message for a model; images in it become parts, as addresses where they have one and as data otherwise."""
    optional = {
        "name": message.name,
        "tool_call_id": message.tool_call_id,
        "tool_calls": list(message.tool_calls),
    }
    given = {key: value for key, value in optional.items() if value}
    return {"role": message.role, "content": _content(message), **given}


def _content(message: Message) -> str | list[dict[str, Any]] | None:
    if isinstance(message.content, str):
        return message.content if message.content or not message.tool_calls else None
    return [_part(part) for part in message.content]


def _part(part: object) -> dict[str, Any]:
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": part.source_url or part.to_base64(with_type=True)}}
    return {"type": "text", "text": str(part)}
