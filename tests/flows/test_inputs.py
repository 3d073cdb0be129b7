"""What callers may send, and what they are told where it is wrong."""

import datetime
import enum
import inspect
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from penstock.values import to_struct
from penstock_server.errors import InvalidRequest, to_status
from penstock_server.flows import callable as callables
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads


class Color(enum.Enum):
    RED = "red"


class Address(BaseModel):
    street: str
    numbers: list[int] = []


@dataclass
class Point:
    x: int
    y: int = 0


class Options(TypedDict, total=False):
    deep: bool


def everything(
    text: str,
    number: int = 1,
    ratio: float = 0.5,
    flag: bool = False,
    names: list[str] | None = None,
    table: dict[str, int] | None = None,
    color: Color = Color.RED,
    mode: Literal["a", "b"] = "a",
    address: Address | None = None,
    point: Point | None = None,
    options: Options | None = None,
    day: datetime.date | None = None,
    price: Decimal | None = None,
    pair: tuple[int, str] | None = None,
    either: int | str = 0,
    limited: Annotated[int, Field(ge=1, le=3)] = 1,
    anything: Any = None,
) -> str:
    return ""


@pytest.fixture
def flow(flow_of):
    return flow_of(everything)


def bind(flow, inputs):
    """The arguments of a flow whose inputs hold no code: nothing suspends."""
    with pytest.raises(StopIteration) as caught:
        flow.arguments(inputs).send(None)
    return caught.value.value


def violations(flow, /, **inputs):
    with pytest.raises(InvalidRequest) as caught:
        bind(flow, inputs)
    return dict(caught.value.violations)


def test_json_values_become_what_the_hints_say(flow):
    bound = bind(
        flow,
        {
            "text": "t",
            "ratio": 2,
            "names": ["a"],
            "table": {"k": 1},
            "color": "red",
            "address": {"street": "s", "numbers": [1]},
            "point": {"x": 1},
            "options": {"deep": True},
            "day": "2024-02-29",
            "price": "1.10",
            "pair": [1, "x"],
            "either": "word",
            "anything": {"a": [None]},
        },
    )
    assert bound["ratio"] == 2.0
    assert isinstance(bound["ratio"], float)
    assert bound["color"] is Color.RED
    assert bound["address"] == Address(street="s", numbers=[1])
    assert bound["point"] == Point(1, 0)
    assert bound["day"] == datetime.date(2024, 2, 29)
    assert bound["price"] == Decimal("1.10")
    assert bound["pair"] == (1, "x")
    assert bound["anything"] == {"a": [None]}
    assert bound["number"] == 1, "defaults are applied"


def test_a_whole_float_serves_for_an_integer(flow):
    bound = bind(flow, {"text": "t", "number": 5.0})
    assert bound["number"] == 5
    assert isinstance(bound["number"], int)
    assert violations(flow, text="t", number=5.5) == {
        "inputs.number": "must be an integer, not a number with a fraction"
    }
    assert violations(flow, text="t", number=1e19) == {"inputs.number": "must be an integer, not a number"}
    assert violations(flow, text=1, number=5.0) == {"inputs.text": "must be a string, not an integer"}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("text", 1, "must be a string, not an integer"),
        ("text", None, "must be a string, not null"),
        ("number", "1", "must be an integer, not a string"),
        ("number", True, "must be an integer, not a boolean"),
        ("ratio", "1", "must be a number, not a string"),
        ("flag", 1, "must be true or false, not an integer"),
        ("flag", "true", "must be true or false, not a string"),
        ("names", "a", "must be a list, not a string"),
        ("table", [], "must be an object, not a list"),
        ("mode", "c", "must be 'a' or 'b'"),
        ("limited", 4, "must be less than or equal to 3"),
        ("address", 1, "must be an object, not an integer"),
    ],
)
def test_a_wrong_type_is_named_in_a_sentence(flow, name, value, text):
    assert violations(flow, **{"text": "t", name: value}) == {f"inputs.{name}": text}


def test_every_violation_is_told_at_once_with_its_path(flow):
    found = violations(
        flow,
        names=["a", 1],
        table={"k": "v"},
        address={"numbers": ["x"]},
        point={"x": "1"},
        txt="t",
        options={"deeper": 1},
    )
    assert found == {
        "inputs.text": "is required",
        "inputs.names[1]": "must be a string, not an integer",
        "inputs.table.k": "must be an integer, not a string",
        "inputs.address.street": "is required",
        "inputs.address.numbers[0]": "must be an integer, not a string",
        "inputs.point.x": "must be an integer, not a string",
        "inputs.txt": "is not an input of this flow; did you mean `text`?",
        "inputs.options.deeper": "is not a field here",
    }


def test_the_members_of_a_union_are_one_violation(flow):
    assert violations(flow, text="t", either=[]) == {
        "inputs.either": "must be an integer, not a list or must be a string, not a list"
    }


def test_an_unknown_input_names_those_that_exist(flow_of):
    def two(question: str, count: int = 1) -> str:
        return ""

    def none() -> str:
        return ""

    assert violations(flow_of(two), question="", zzz=1) == {
        "inputs.zzz": "is not an input of this flow; it has: question, count"
    }
    assert violations(flow_of(none), zzz=1) == {"inputs.zzz": "is not an input of this flow; it has none"}


@pytest.mark.parametrize("count", [100, 5000])
def test_an_error_stays_small_enough_for_metadata(flow, count):
    with pytest.raises(InvalidRequest) as caught:
        bind(flow, {"é" * 10_000 + str(index): 1 for index in range(count)})
    status = to_status(caught.value)
    assert 3 * len(status.message.encode()) + 2 * len(status.SerializeToString()) < 8 * 1024
    assert "violations" in caught.value.violations[-1][1]


def test_mutable_defaults_are_not_shared_between_runs(flow_of):
    def collect(items: list[int] = []) -> list[int]:  # noqa: B006
        return items

    flow = flow_of(collect)
    bind(flow, {})["items"].append(1)
    assert bind(flow, {})["items"] == []


def test_what_is_not_json_is_refused(flow):
    assert "inputs" in violations(flow, text="\ud800")
    assert "inputs" in violations(flow, text=object())


def test_the_schema_tells_types_defaults_and_required_inputs(flow):
    schema = flow.spec.input_schema
    assert schema["type"] == "object"
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["number"] == {"type": "integer", "default": 1}
    assert properties["limited"] == {"type": "integer", "minimum": 1, "maximum": 3, "default": 1}
    assert properties["mode"] == {"type": "string", "enum": ["a", "b"], "default": "a"}
    assert properties["color"]["default"] == "red"
    assert "$ref" not in str(schema), "definitions stand where they are used"


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


def test_a_schema_that_nests_itself_keeps_its_definitions(flow_of):
    def walk(tree: Tree) -> Tree:
        return tree

    flow = flow_of(walk)
    schema = flow.spec.input_schema
    assert schema["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert set(flow.spec.output_schema["properties"]) == {"value", "children"}
    assert bind(flow, {"tree": {"value": 1, "children": [{"value": 2}]}})["tree"].children[0].value == 2


def test_a_schema_that_would_grow_without_end_keeps_its_definitions(flow_of):
    hint: type = int
    for level in range(40):
        hint = create_model(f"Level{level}", left=(hint, ...), right=(hint, ...))

    def flow(tree):
        return ""

    flow.__annotations__["tree"] = hint
    schema = flow_of(flow).spec.input_schema
    assert len(schema["$defs"]) == 40
    to_struct(schema)


NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = tuple(inspect.signature(everything).parameters)
FLOW = callables.make("f", everything, snapshot="", threads=Threads(1), settings=FlowSettings())


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON, max_size=6))
@settings(deadline=None)
def test_any_json_is_bound_or_refused_by_the_names_of_its_inputs(inputs):
    found: tuple[tuple[str, str], ...] = ()
    try:
        assert set(bind(FLOW, inputs)) == set(NAMES)
    except InvalidRequest as error:
        found = error.violations or (("", ""),)
    assert all(field.startswith("inputs") and text for field, text in found)
