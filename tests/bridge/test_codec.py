"""The JSON codec against protobuf's own, on a message with a field of every kind."""

import math
from typing import Any

import orjson
import pytest
from google.protobuf import (
    any_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,  # noqa: F401 — the test's file imports it
    field_mask_pb2,
    json_format,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.rpc.error_details_pb2 import ErrorInfo
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from penstock.values import VALUES_MAX, InvalidValue, to_struct
from penstock_bridge.codec.decode import decoder
from penstock_bridge.codec.document import DOCUMENT_VALUES_MAX, TooManyValues, parse
from penstock_bridge.codec.encode import to_json

SCALARS = ["double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
           "sfixed32", "sfixed64", "bool", "string", "bytes"]  # fmt: skip
WRAPPERS = ["DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue",
            "StringValue", "BytesValue"]  # fmt: skip
OTHERS = ["Timestamp", "Duration", "FieldMask", "Any", "Struct", "Value", "ListValue", "Empty"]
FIELD = FieldDescriptorProto


def kitchen() -> Any:
    """A message with everything in it, made without a compiler."""
    file = FileDescriptorProto(name="penstock_test/kitchen.proto", package="penstock_test", syntax="proto3")
    file.dependency.extend(f"google/protobuf/{name}.proto" for name in (
        "any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"))  # fmt: skip
    color = file.enum_type.add(name="Color")
    for number, name in enumerate(("COLOR_UNSPECIFIED", "RED", "BLUE")):
        color.value.add(name=name, number=number)
    message = file.message_type.add(name="Kitchen")
    message.oneof_decl.add(name="choice")
    kinds = [(name, getattr(FIELD, f"TYPE_{name.upper()}"), "") for name in SCALARS]
    kinds += [
        ("color", FIELD.TYPE_ENUM, ".penstock_test.Color"),
        ("self", FIELD.TYPE_MESSAGE, ".penstock_test.Kitchen"),
    ]
    kinds += [(f"w_{name.lower()}", FIELD.TYPE_MESSAGE, f".google.protobuf.{name}") for name in (*WRAPPERS, *OTHERS)]
    for name, kind, type_name in kinds:
        _add(message, f"one_{name}", kind, type_name)
        _add(message, f"many_{name}", kind, type_name, label=FIELD.LABEL_REPEATED)
        _add_map(message, f"map_{name}", kind, type_name)
    for name, kind in (("pick_text", FIELD.TYPE_STRING), ("pick_number", FIELD.TYPE_INT64)):
        _add(message, name, kind, "").oneof_index = 0
    for key in ("int32", "int64", "uint64", "bool"):
        _add_map(message, f"keyed_{key}", FIELD.TYPE_STRING, "", getattr(FIELD, f"TYPE_{key.upper()}"))
    maybe = _add(message, "maybe_text", FIELD.TYPE_STRING, "")
    maybe.proto3_optional = True
    maybe.oneof_index = 1
    message.oneof_decl.add(name="_maybe_text")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("penstock_test.Kitchen"))


def _add(message: DescriptorProto, name: str, kind: Any, type_name: str, label: Any = FIELD.LABEL_OPTIONAL) -> Any:
    number = len(message.field) + 1
    return message.field.add(name=name, number=number, type=kind, type_name=type_name or None, label=label)


def _add_map(message: DescriptorProto, name: str, kind: Any, type_name: str, key: Any = FIELD.TYPE_STRING) -> None:
    entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
    entry.options.map_entry = True
    _add(entry, "key", key, "")
    _add(entry, "value", kind, type_name)
    type_name = f".penstock_test.Kitchen.{entry.name}"
    _add(message, name, FIELD.TYPE_MESSAGE, type_name, label=FIELD.LABEL_REPEATED)


Kitchen = kitchen()

INTEGERS = {"32": (-(2**31), 2**31 - 1), "64": (-(2**63), 2**63 - 1), "u32": (0, 2**32 - 1), "u64": (0, 2**64 - 1)}
TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def integers(kind: str) -> st.SearchStrategy[int]:
    low, high = INTEGERS[("u" if kind.startswith(("uint", "fixed")) else "") + kind[-2:]]
    return st.integers(low, high)


def scalar(kind: str) -> st.SearchStrategy[Any]:
    simple: dict[str, st.SearchStrategy[Any]] = {
        "bool": st.booleans(),
        "string": TEXT,
        "bytes": st.binary(max_size=8),
        # One NaN of the many: JSON knows no more.
        "double": st.floats(allow_nan=False) | st.just(math.nan),
        "float": st.floats(allow_nan=False, width=32) | st.just(math.nan),
        "color": st.integers(0, 2),
    }
    return simple[kind] if kind in simple else integers(kind)


def special(name: str) -> st.SearchStrategy[Any]:
    """Messages that have a JSON form of their own."""
    if name.endswith("Value") and name in WRAPPERS:
        kind = name.removesuffix("Value").lower()
        return scalar(kind).map(lambda value: getattr(wrappers_pb2, name)(value=value))
    made: dict[str, st.SearchStrategy[Any]] = {
        "Timestamp": st.builds(
            timestamp_pb2.Timestamp, seconds=st.integers(-62135596800, 253402300799), nanos=st.integers(0, 999_999_999)
        ),
        "Duration": st.builds(
            duration_pb2.Duration, seconds=st.integers(0, 315_576_000_000), nanos=st.integers(0, 999_999_999)
        ),
        "FieldMask": st.lists(st.from_regex(r"[a-z]+(_[a-z]+)*", fullmatch=True), max_size=2).map(
            lambda paths: field_mask_pb2.FieldMask(paths=paths)
        ),
        "Any": st.builds(ErrorInfo, reason=TEXT, metadata=st.dictionaries(TEXT, TEXT, max_size=2)).map(_packed),
        "Struct": st.dictionaries(TEXT, JSON, max_size=3).map(to_struct),
        "Value": JSON.map(_value),
        "ListValue": st.lists(JSON, max_size=3).map(lambda items: _value(items).list_value),
    }
    return made[name]


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    return packed


def _value(value: object) -> struct_pb2.Value:
    from penstock.values import to_value

    return to_value(value)


@st.composite
def kitchens(draw: Any) -> Any:
    message = Kitchen()
    for kind in draw(st.lists(st.sampled_from([*SCALARS, "color"]), max_size=5)):
        setattr(message, f"one_{kind}", draw(scalar(kind)))
        getattr(message, f"many_{kind}").extend(draw(st.lists(scalar(kind), max_size=3)))
        getattr(message, f"map_{kind}").update(draw(st.dictionaries(TEXT, scalar(kind), max_size=3)))
    for name in draw(st.lists(st.sampled_from([*WRAPPERS, *OTHERS[:-1]]), max_size=3)):
        getattr(message, f"one_w_{name.lower()}").CopyFrom(draw(special(name)))
        getattr(message, f"many_w_{name.lower()}").extend(draw(st.lists(special(name), max_size=2)))
        for key, value in draw(st.dictionaries(TEXT, special(name), max_size=2)).items():
            getattr(message, f"map_w_{name.lower()}")[key].CopyFrom(value)
    message.keyed_int64.update(draw(st.dictionaries(integers("int64"), TEXT, max_size=2)))
    message.keyed_bool.update(draw(st.dictionaries(st.booleans(), TEXT, max_size=2)))
    if draw(st.booleans()):
        message.pick_number = draw(integers("int64"))
        message.maybe_text = draw(TEXT)
        message.one_self.one_string = draw(TEXT)
        message.one_w_empty.SetInParent()
    return message


QUICK = settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(kitchens())
def test_every_message_prints_as_protobuf_prints_it(message: Any) -> None:
    theirs = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    assert orjson.loads(to_json(message)) == theirs


@QUICK
@given(kitchens(), st.booleans())
def test_every_message_is_read_back_under_either_names(message: Any, proto_names: bool) -> None:
    text = json_format.MessageToJson(message, preserving_proto_field_name=proto_names)
    ours = Kitchen()
    decoder(Kitchen.DESCRIPTOR)(parse(text.encode()), ours)
    # NaN is not equal to itself, so the comparison is of what is sent.
    assert ours.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@QUICK
@given(st.dictionaries(st.sampled_from([field.json_name for field in Kitchen.DESCRIPTOR.fields]), JSON, max_size=2))
def test_what_is_accepted_is_what_protobuf_accepts(document: dict[str, Any]) -> None:
    ours, theirs = Kitchen(), Kitchen()
    # Protobuf's own parser fails on null for a list or map of Value.
    assume(all(document.get(name, 0) is not None for name in ("manyWValue", "mapWValue")))
    try:
        decoder(Kitchen.DESCRIPTOR)(document, ours)
    except InvalidValue:
        return
    json_format.ParseDict(document, theirs)
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)


def read(text: str) -> Any:
    message = Kitchen()
    decoder(Kitchen.DESCRIPTOR)(parse(text.encode()), message)
    return message


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ('{"nope":1}', "nope", "no such field"),
        ('{"oneInt32":1,"one_int32":2}', "oneInt32", "given twice"),
        ('{"oneInt32":true}', "oneInt32", "whole number"),
        ('{"oneInt32":1.5}', "oneInt32", "whole number"),
        ('{"oneInt32":"1.0"}', "oneInt32", "whole number"),
        ('{"oneInt32":" 1"}', "oneInt32", "whole number"),
        ('{"oneInt32":2147483648}', "oneInt32", "between"),
        ('{"oneUint32":-1}', "oneUint32", "between"),
        ('{"oneInt64":"9223372036854775808"}', "oneInt64", "between"),
        ('{"oneBool":1}', "oneBool", "true or false"),
        ('{"oneBool":"true"}', "oneBool", "true or false"),
        ('{"oneString":1}', "oneString", "a string"),
        ('{"oneString":{}}', "oneString", "not an object"),
        ('{"oneBytes":"*"}', "oneBytes", "base64"),
        ('{"oneFloat":1e300}', "oneFloat", "32-bit"),
        ('{"oneDouble":"x"}', "oneDouble", "a number"),
        ('{"oneDouble":"1_0"}', "oneDouble", "a number"),
        ('{"oneColor":"GREEN"}', "oneColor", "RED, BLUE"),
        ('{"oneColor":7}', "oneColor", "RED, BLUE"),
        ('{"oneSelf":[]}', "oneSelf", "an object, not a list"),
        ('{"oneSelf":{"oneSelf":{"nope":1}}}', "oneSelf.oneSelf.nope", "no such field"),
        ('{"manyInt32":1}', "manyInt32", "a list"),
        ('{"manyInt32":[1,null]}', "manyInt32[1]", "not null"),
        ('{"manySelf":[{},{"nope":1}]}', "manySelf[1].nope", "no such field"),
        ('{"mapInt32":[]}', "mapInt32", "an object"),
        ('{"mapInt32":{"a":"b"}}', "mapInt32.a", "whole number"),
        ('{"mapSelf":{"a":{"nope":1}}}', "mapSelf.a.nope", "no such field"),
        ('{"keyedInt32":{"a":"b"}}', "keyedInt32.a", "whole number"),
        ('{"keyedBool":{"yes":"b"}}', "keyedBool.yes", "true or false"),
        ('{"pickText":"a","pickNumber":1}', "pickNumber", "excludes pick_text"),
        ('{"oneWTimestamp":"yesterday"}', "oneWTimestamp", "2026-11-23T15:30:00Z"),
        ('{"oneWTimestamp":12}', "oneWTimestamp", "must be text"),
        ('{"oneWDuration":"soon"}', "oneWDuration", "1.5s"),
        ('{"oneWStruct":[]}', "oneWStruct", "an object"),
        ('{"oneWListvalue":{}}', "oneWListvalue", "a list"),
        ('{"oneWAny":{}}', "oneWAny.@type", "known message type"),
        ('{"oneWAny":{"@type":"x/no.Such"}}', "oneWAny.@type", "known message type"),
        ('{"oneWStruct":{"a":[9007199254740993]}}', "oneWStruct.a[0]", "2^53"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(text: str, field: str, said: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        read(text)
    assert raised.value.field("").lstrip(".") == field
    assert said in raised.value.description


@pytest.mark.parametrize(
    "text", ['{"oneInt32":null}', '{"oneSelf":null}', '{"manyInt32":null}', '{"mapInt32":null}', '{"oneWStruct":null}']
)
def test_null_leaves_a_field_unset(text: str) -> None:
    assert read(text) == Kitchen()


def test_null_is_a_value_where_values_are_expected() -> None:
    message = read('{"oneWValue":null,"manyWValue":[null]}')
    assert message.HasField("one_w_value")
    assert message.many_w_value[0].WhichOneof("kind") == "null_value"


@pytest.mark.parametrize("text", ["1", '"1"', "1.0"])
def test_whole_numbers_have_three_spellings(text: str) -> None:
    assert read(f'{{"oneInt64":{text}}}').one_int64 == 1


@pytest.mark.parametrize("text", ["_-8", "/+8", "_-8=", "/+8="])
def test_base64_has_two_alphabets_and_optional_padding(text: str) -> None:
    assert read(f'{{"oneBytes":"{text}"}}').one_bytes == b"\xff\xef"


def test_special_floats_are_text() -> None:
    message = read('{"oneDouble":"NaN","manyDouble":["Infinity","-Infinity","1e3"]}')
    assert math.isnan(message.one_double)
    assert list(message.many_double) == [math.inf, -math.inf, 1000.0]
    assert orjson.loads(to_json(message))["manyDouble"] == ["Infinity", "-Infinity", 1000.0]


def test_keys_are_printed_in_order_so_that_equal_messages_have_equal_text() -> None:
    one, other = Kitchen(), Kitchen()
    for message, names in ((one, "abcdefgh"), (other, "hgfedcba")):
        for name in names:
            message.map_int32[name] = 1
            message.one_w_struct.fields[name].struct_value.fields[name].bool_value = True
            message.one_w_struct.fields[name].struct_value.fields["x"].bool_value = True
    assert to_json(one) == to_json(other)
    assert b'"mapInt32":{"a":1,"b":1' in to_json(one)


@pytest.mark.parametrize("seconds", [253402300800, -62135596801])
def test_a_time_that_no_calendar_has_is_an_error(seconds: int) -> None:
    message = Kitchen()
    message.one_w_timestamp.seconds = seconds
    with pytest.raises(ValueError, match="years"):
        to_json(message)


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', '[{"a":1},{"b":1,"b":1}]', '{"a" :1,"a":":x"}', '{"\\u0061":1,"a":2}',
     '{"a":":x","a":":y"}', '{"a\\"":1,"a\\"":2}', '{"":1,"":2}'],
)  # fmt: skip
def test_a_key_that_appears_twice_is_refused_however_it_is_written(text: str) -> None:
    with pytest.raises(InvalidValue, match="twice"):
        parse(text.encode())


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from([(",", ":"), (" ,\n", "\t: ")]))
def test_any_document_is_read_as_it_is(document: Any, separators: tuple[str, str]) -> None:
    import json

    text = json.dumps(document, separators=separators, ensure_ascii=False).encode()
    assert parse(text) == document


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"oneWStruct":{"a":[%s]}}', "oneWStruct.a"),
        ('{"oneWStruct":{"a":[[[%s]]]}}', "oneWStruct.a[0][0]"),
        ('{"oneWValue":{"a":[%s]}}', "oneWValue.a"),
        ('{"oneWListvalue":[%s]}', "oneWListvalue"),
        ('{"manyWStruct":[{},{"a":[%s]}]}', "manyWStruct[1].a"),
    ],
)
def test_more_values_than_the_contract_carries_are_refused_where_they_are(text: str, field: str) -> None:
    read(text % ",".join("0" * (VALUES_MAX - 3)))
    with pytest.raises(InvalidValue, match="holds more than 100000 values") as raised:
        read(text % ",".join("0" * (VALUES_MAX + 1)))
    assert raised.value.field("").lstrip(".") == field


UNITS = ["0", "[]", "[ ]", "{}", "[0]", '""', '"\\""', '"\\\\"', '"[{,"', '{"a":1}', '{"a" :[1,{"b":","}]}', "[[[[]]]]"]


@pytest.mark.parametrize("unit", UNITS)
def test_a_document_has_a_limit_of_values_whatever_they_are(unit: str) -> None:
    count = DOCUMENT_VALUES_MAX // held(orjson.loads(f"[{unit}]"))
    assert len(parse(f"[{','.join([unit] * count)}]".encode())) == count  # type: ignore[arg-type]
    with pytest.raises(TooManyValues):
        parse(f"[{','.join([unit] * (count + 1))}]".encode())


def held(document: Any) -> int:
    """How many values a document holds."""
    items = list(document.values()) if isinstance(document, dict) else document
    return len(items) + sum(held(item) for item in items if isinstance(item, (dict, list)))


@pytest.mark.parametrize("unit", ["[{,", '\\"', "\\\\,", "[", "x"])
def test_a_text_is_one_value_whatever_it_holds(unit: str) -> None:
    text = unit * (4_000_000 // len(unit))
    assert parse(b'{"a" : ["%s"]}' % text.encode()) == {"a": [orjson.loads(f'"{text}"')]}


@pytest.mark.parametrize("text", ['{"a":"%s","b', '"%s" "%s', '["%s"}', "[%s", '["%s" 1,'])
def test_a_broken_document_is_read_once_and_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        parse(text.replace("%s", "," * 500_000 + "a" * 1_500_000).encode())


def test_a_key_that_appears_twice_is_found_at_once_among_many() -> None:
    keys = [*range(50_000), 49_999]
    with pytest.raises(InvalidValue, match="'49999' appears twice"):
        parse(("{" + ",".join(f'"{key}":0' for key in keys) + "}").encode())
