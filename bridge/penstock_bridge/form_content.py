"""The inputs of a flow as OpenAPI describes a form (OpenAPI 3.1 §4.8.14, "Considerations for multipart Content")."""

from penstock_bridge.negotiation import JSON
from penstock_bridge.schemas import Schema

MEDIA = "x-media"
"""The keyword with which a flow's schema marks images and files."""

BINARY: Schema = {"type": "string", "format": "binary"}


def form_content(inputs: Schema) -> Schema:
    """The entry `multipart/form-data` of a request body.

    Args:
        inputs: the schema of the inputs, whose references hold anywhere in the document.
    """
    given = inputs.get("properties", {})
    parts = {name: _part(schema) for name, schema in given.items()}
    schema = {key: value for key, value in inputs.items() if key != "$defs"}
    if parts:
        schema["properties"] = parts
    as_json = [name for name, part in parts.items() if part is given[name] and not _is_text(part)]
    encoding = {name: {"contentType": JSON} for name in as_json}
    return {"schema": schema} | ({"encoding": encoding} if encoding else {})


def _part(schema: Schema) -> Schema:
    said = {key: schema[key] for key in ("title", "description") if key in schema}
    if _is_media(schema):
        return BINARY | said
    if any(_is_media(choice) for choice in _choices(schema)):
        return BINARY | said
    if any(_is_media(choice.get("items")) for choice in (schema, *_choices(schema))):
        return {"type": "array", "items": BINARY} | said
    return schema


def _is_media(schema: object) -> bool:
    return isinstance(schema, dict) and MEDIA in schema


def _choices(schema: Schema) -> list[Schema]:
    """The schemas of which a value must satisfy one."""
    found = schema.get("anyOf") or schema.get("oneOf") or []
    return [choice for choice in found if isinstance(choice, dict)]


def _is_text(schema: Schema) -> bool:
    """Whether a part of plain text can be such an input."""
    if "type" in schema:
        return "string" in schema["type"]
    choices = _choices(schema)
    return any(map(_is_text, choices)) if choices else "$ref" not in schema
