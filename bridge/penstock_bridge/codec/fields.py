"""What the codec asks of a field's descriptor."""

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

STRUCT = "google.protobuf.Struct"
VALUE = "google.protobuf.Value"
LIST_VALUE = "google.protobuf.ListValue"
NULL_VALUE = "google.protobuf.NullValue"
ANY = "google.protobuf.Any"
TIMESTAMP = "google.protobuf.Timestamp"
DURATION = "google.protobuf.Duration"
FIELD_MASK = "google.protobuf.FieldMask"
WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)

SPECIAL = frozenset({STRUCT, VALUE, LIST_VALUE, ANY, TIMESTAMP, DURATION, FIELD_MASK}) | WRAPPERS
"""Messages whose JSON is not an object of their fields."""

INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether the field holds a list or a map."""
    try:
        return field.is_repeated
    except AttributeError:  # protobuf before 6.31
        return bool(getattr(field, "label") == FieldDescriptor.LABEL_REPEATED)  # noqa: B009 — newer types lack it


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return is_message(field) and bool(message_type(field).GetOptions().map_entry)


def is_message(field: FieldDescriptor) -> bool:
    """Whether the field's values are messages."""
    return field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE


def message_type(field: FieldDescriptor) -> Descriptor:
    """The type of a message field."""
    assert field.message_type is not None  # noqa: S101 — the caller has seen that it is one
    return field.message_type


def enum_type(field: FieldDescriptor) -> EnumDescriptor:
    """The type of an enum field."""
    assert field.enum_type is not None  # noqa: S101 — the caller has seen that it is one
    return field.enum_type


def type_name(field: FieldDescriptor) -> str:
    """The full name of the field's message or enum type; empty for other types."""
    kind = field.message_type or field.enum_type
    return kind.full_name if kind is not None else ""


def lookup(fields: "list[FieldDescriptor]") -> dict[str, FieldDescriptor]:
    """The fields by their JSON names, and by the names that they have in the contract."""
    return {field.name: field for field in fields} | {field.json_name: field for field in fields}
