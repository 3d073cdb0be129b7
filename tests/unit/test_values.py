"""Python values to Struct and back keep the contract's rules."""

import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1.flow_pb2 import InvokeRequest, InvokeStreamResponse
from penstock.values import DEPTH_MAX, INTEGER_MAX, InvalidValue, from_struct, from_value, to_struct, to_value

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
