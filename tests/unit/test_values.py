"""Python values to Struct and back keep the contract's rules."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1.flow_pb2 import InvokeRequest, InvokeStreamResponse
from penstock.values import (
    DEPTH_MAX,
    INTEGER_MAX,
    VALUES_MAX,
    InvalidValue,
    from_struct,
    from_value,
    to_struct,
    to_value,
)

TEXT = st.text(st.characters(codec="utf-8"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_MAX, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert from_struct(Struct.FromString(to_struct(value).SerializeToString())) == value


@pytest.mark.parametrize("number", [0, 1, -1, INTEGER_MAX, -INTEGER_MAX])
def test_whole_numbers_come_back_as_int(number: int) -> None:
    read = from_value(to_value(number), exact=True)
    assert read == number
    assert type(read) is int


@pytest.mark.parametrize("number", [INTEGER_MAX + 1, -INTEGER_MAX - 1, 10**400])
def test_integers_that_a_double_cannot_hold_are_refused(number: int) -> None:
    with pytest.raises(InvalidValue, match="send it as a string"):
        to_value(number)


def test_whole_numbers_that_may_have_been_another_are_refused_where_that_is_asked() -> None:
    value = Value(number_value=float(INTEGER_MAX + 2))
    assert from_value(value) == INTEGER_MAX + 2
    with pytest.raises(InvalidValue, match="2\\^53"):
        from_value(value, exact=True)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_say_are_refused_both_ways(number: float) -> None:
    with pytest.raises(InvalidValue):
        to_value(number)
    with pytest.raises(InvalidValue):
        from_value(Value(number_value=number))


@pytest.mark.parametrize("value", [b"bytes", {1: "key"}, {"a": object()}, {1, 2}, "\ud800", {"\ud800": 1}])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue):
        to_struct({"field": value})


def test_the_place_of_what_is_wrong_is_named() -> None:
    with pytest.raises(InvalidValue) as caught:
        to_struct({"filters": {"tags": ["a", {"b": math.nan}]}})
    assert caught.value.field("inputs") == "inputs.filters.tags[1].b"
    assert str(caught.value) == "filters.tags[1].b: nan is not a JSON number"


def nested(depth: int) -> dict[str, Any]:
    """An object that nests so deep."""
    value: dict[str, Any] = {"end": 1}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


def test_values_nest_as_deep_as_promised_on_every_message_and_no_deeper() -> None:
    deepest = nested(DEPTH_MAX)
    request = InvokeRequest(inputs=to_struct(deepest))
    assert from_struct(InvokeRequest.FromString(request.SerializeToString()).inputs) == deepest
    response = InvokeStreamResponse()
    to_struct(deepest, response.events.add().node_finished.node.inputs)
    assert InvokeStreamResponse.FromString(response.SerializeToString()) == response
    with pytest.raises(InvalidValue, match="nests more than 32 deep"):
        to_struct(nested(DEPTH_MAX + 1))


def test_a_struct_that_was_made_elsewhere_may_not_nest_deeper_either() -> None:
    struct = Struct()
    inner = struct
    for _ in range(DEPTH_MAX):
        inner = inner.fields["in"].struct_value
    inner.fields["end"].number_value = 1
    with pytest.raises(InvalidValue, match="nests more than 32 deep"):
        from_struct(struct)


def refused(action: Callable[[], object]) -> str:
    """The place of the container that is too much."""
    with pytest.raises(InvalidValue, match="holds more than 100000 values") as caught:
        action()
    return caught.value.field("inputs")


def test_a_value_holds_as_many_values_as_promised_and_no_more() -> None:
    most = {"list": [0] * (VALUES_MAX - 1)}
    assert from_struct(to_struct(most)) == most
    assert from_value(to_value([None] * VALUES_MAX)) == [None] * VALUES_MAX
    assert refused(lambda: to_struct({"list": [0] * VALUES_MAX})) == "inputs.list"
    assert refused(lambda: to_value([None] * (VALUES_MAX + 1))) == "inputs"
    assert refused(lambda: to_struct({str(key): 0 for key in range(VALUES_MAX + 1)})) == "inputs"


def test_values_count_at_every_depth() -> None:
    half = [0] * (VALUES_MAX // 2)
    assert refused(lambda: to_struct({"a": half, "b": {"c": [half]}})) == "inputs.b.c[0]"
    assert refused(lambda: to_value([[]] * 2 + [[[]] * (VALUES_MAX - 4), [0]])) == "inputs[3]"


def test_a_struct_that_was_made_elsewhere_may_not_hold_more_either() -> None:
    half = to_value([0] * (VALUES_MAX // 2))
    struct = to_struct({"a": 0})
    struct.fields["b"].struct_value.fields["c"].CopyFrom(half)
    struct.fields["b"].struct_value.fields["d"].CopyFrom(half)
    assert refused(lambda: from_struct(struct)).startswith("inputs.b.")
    half.list_value.MergeFrom(half.list_value)
    half.list_value.values.add()
    assert refused(lambda: from_value(half)) == "inputs"
    many = Struct()
    for key in range(VALUES_MAX + 1):
        many.fields[str(key)].bool_value = True
    assert refused(lambda: from_struct(many)) == "inputs"
