"""JSON Schemas (draft 2020-12, as OpenAPI 3.1 has them) of messages, as the codec reads and writes them."""

from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from penstock_bridge.codec import fields
from penstock_bridge.comments import Comments

Schema = dict[str, Any]

COMPONENTS = "#/components/schemas/"


class Schemas:
    """The schemas of all messages that a document mentions, each under its own name.

    Attributes:
        components: what goes into the document's `components.schemas`.
    """

    def __init__(self, comments: Comments, package: str) -> None:
        self.components: dict[str, Schema] = {}
        self._comments = comments
        self._prefix = package + "."

    def message(self, message: Descriptor) -> Schema:
        """A reference to the schema of a message, or the schema itself where it is one of JSON's own kinds."""
        special = _SPECIAL.get(message.full_name)
        if special is not None:
            return dict(special)
        if message.full_name in fields.WRAPPERS:
            return self.field(message.fields_by_name["value"])
        name = self._name(message.full_name)
        if name not in self.components:
            # Put down before it is filled: a message may hold its own kind.
            schema = self.components[name] = {"type": "object"}
            self._describe(schema, message.full_name)
            schema.update(self.object(list(message.fields)))
        return {"$ref": COMPONENTS + name}

    def object(self, members: list[FieldDescriptor]) -> Schema:
        """The schema of an object of these fields."""
        schema: Schema = {"type": "object", "properties": {field.json_name: self.field(field) for field in members}}
        required = [field.json_name for field in members if is_required(field)]
        return schema | ({"required": required} if required else {})

    def field(self, field: FieldDescriptor) -> Schema:
        """The schema of a field, with its comment."""
        schema = self._described(self._shape(field), field.full_name)
        if fields.is_map(field) or not fields.is_repeated(field):
            return schema
        return self._described({"type": "array", "items": self._shape(field)}, field.full_name)

    def _shape(self, field: FieldDescriptor) -> Schema:
        if fields.is_map(field):
            return {
                "type": "object",
                "additionalProperties": self._shape(fields.message_type(field).fields_by_name["value"]),
            }
        if fields.is_message(field):
            return self.message(fields.message_type(field))
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        return dict(_SCALARS[field.type])

    def _enum(self, enum: EnumDescriptor) -> Schema:
        name = self._name(enum.full_name)
        if name not in self.components:
            schema: Schema = {"type": "string", "enum": [value.name for value in enum.values]}
            self._describe(schema, enum.full_name)
            texts = [(value.name, self._comments.get(f"{enum.full_name}.{value.name}", "")) for value in enum.values]
            listed = "\n".join(f"- `{value}`: {text}" for value, text in texts if text)
            schema["description"] = "\n\n".join(filter(None, [schema.get("description", ""), listed]))
            self.components[name] = schema
        return {"$ref": COMPONENTS + name}

    def _described(self, schema: Schema, full_name: str) -> Schema:
        self._describe(schema, full_name)
        return schema

    def _describe(self, schema: Schema, full_name: str) -> None:
        comment = self._comments.get(full_name)
        if comment:
            schema["description"] = comment

    def _name(self, full_name: str) -> str:
        return full_name.removeprefix(self._prefix)


def is_required(field: FieldDescriptor) -> bool:
    """Whether the contract marks the field as one that callers must send."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviors


_INTEGER_TEXT = {"type": "string", "pattern": "^-?[0-9]+$"}
_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}

_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: _NUMBER,
    FieldDescriptor.TYPE_FLOAT: _NUMBER,
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_SINT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_SFIXED32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.TYPE_FIXED32: {"type": "integer", "minimum": 0},
    FieldDescriptor.TYPE_INT64: _INTEGER_TEXT | {"format": "int64"},
    FieldDescriptor.TYPE_SINT64: _INTEGER_TEXT | {"format": "int64"},
    FieldDescriptor.TYPE_SFIXED64: _INTEGER_TEXT | {"format": "int64"},
    FieldDescriptor.TYPE_UINT64: _INTEGER_TEXT | {"format": "uint64"},
    FieldDescriptor.TYPE_FIXED64: _INTEGER_TEXT | {"format": "uint64"},
}

_SPECIAL: dict[str, Schema] = {
    fields.STRUCT: {"type": "object", "additionalProperties": True},
    fields.VALUE: {"description": "Any JSON value."},
    fields.LIST_VALUE: {"type": "array", "items": {}},
    fields.TIMESTAMP: {"type": "string", "format": "date-time"},
    fields.DURATION: {"type": "string", "examples": ["1.5s"]},
    fields.FIELD_MASK: {"type": "string", "examples": ["title,labels"]},
    fields.ANY: {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
        "additionalProperties": True,
    },
}
