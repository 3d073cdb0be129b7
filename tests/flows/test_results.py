"""Results of flow code as JSON values, and descriptions for records."""

import datetime
import enum
import json
import pathlib
import uuid
from collections import OrderedDict, deque, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from pydantic import BaseModel, Field

from penstock.values import VALUES_MAX, InvalidValue, to_struct
from penstock_server.errors import FlowFailed
from penstock_server.flows.results import DESCRIBED_CHARS_MAX, DESCRIBED_ITEMS_MAX, describe, jsonable


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Model(BaseModel):
    day: datetime.date
    other: int = Field(serialization_alias="another")


@dataclass
class Data:
    inner: Model
    numbers: tuple[int, ...]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("é", "é"),
        (Name("n"), "n"),
        (Level.HIGH, 3),
        (True, True),
        (None, None),
        (2**53, 2**53),
        (1e300, 1e300),
        ((1, (2,)), [1, [2]]),
        (deque([1]), [1]),
        (frozenset([1]), [1]),
        (OrderedDict(a=1), {"a": 1}),
        (namedtuple("N", "x")(1), [1]),
        (datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC), "2024-02-29T12:00:00Z"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.timedelta(seconds=90), "PT1M30S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (
            Data(Model(day=datetime.date(2024, 1, 1), other=1), (1,)),
            {"inner": {"day": "2024-01-01", "another": 1}, "numbers": [1]},
        ),
    ],
)
def test_values_become_json(value, expected):
    result = jsonable(value)
    assert result == expected
    assert type(result) is type(expected)
    to_struct({"x": result})


@pytest.mark.parametrize(
    ("value", "path", "text"),
    [
        (b"x", (), "bytes are not a JSON value"),
        (float("nan"), (), "nan is not a JSON number"),
        ([1, float("inf")], (1,), "inf is not a JSON number"),
        ({"a": [2**53 + 1]}, ("a", 0), "return it as a string"),
        ({"a": object()}, ("a",), "a value of the type `object` is not a JSON value"),
        ({1: 2}, (), "the key 1 is not text"),
        ("\ud800", (), "lone surrogate"),
        (iter([1]), (), "`list_iterator` is not a JSON value"),
        (ValueError("x"), (), "`ValueError` is not a JSON value"),
        (len, (), "is not a JSON value"),
    ],
)
def test_what_has_no_json_form_is_refused_with_its_path(value, path, text):
    with pytest.raises(InvalidValue, match=text) as caught:
        jsonable(value)
    assert caught.value.path == path


def test_depth_is_what_the_contract_carries():
    value: object = 1
    for _ in range(31):
        value = [value]
    to_struct({"x": jsonable(value)})
    with pytest.raises(InvalidValue, match="nests more than 32 deep"):
        jsonable([value])


async def test_a_result_that_is_no_json_names_the_output(flow_of, run):
    async def whole() -> dict[str, object]:
        return {"fine": 1, "wrong": [object()]}

    async def stream():
        yield "a"
        yield b"b"

    def key():
        return {1: 2}

    with pytest.raises(
        FlowFailed, match=r"output `wrong`: \[0\]: a value of the type `object` is not a JSON value"
    ) as caught:
        await run(flow_of(whole))
    assert caught.value.metadata == {"flow": "whole", "output": "wrong"}
    with pytest.raises(FlowFailed, match="output `output`: chunk 2: bytes are not"):
        await run(flow_of(stream))
    with pytest.raises(FlowFailed, match="name of an output must be text"):
        await run(flow_of(key))


async def test_outputs_hold_no_more_than_an_answer_carries(flow_of, run):
    half = [0] * (VALUES_MAX // 2)

    def whole() -> list[int]:
        return [0] * VALUES_MAX

    def two() -> dict[str, object]:
        return {"a": half, "b": {"c": half}}

    def names() -> dict[str, int]:
        return {str(key): key for key in range(VALUES_MAX + 1)}

    def chunk() -> Iterator[list[int]]:
        yield [0] * VALUES_MAX

    def chunks() -> Iterator[list[int]]:
        for _ in range(3):
            yield half

    for target, text in (
        (whole, "output `output`: the whole"),
        (two, "output `b`: c: the whole"),
        (names, f"output `{VALUES_MAX}`: the whole"),
        (chunk, "output `output`: chunk 1: the whole"),
        (chunks, r"output `output`: \[1\]: the whole"),
    ):
        with pytest.raises(FlowFailed, match=f"{text} holds more than 100000 values"):
            await run(flow_of(target))


async def test_a_text_may_come_in_any_number_of_chunks(flow_of, run):
    def chunks() -> Iterator[str]:
        yield from "x" * (VALUES_MAX + 1)

    assert await run(flow_of(chunks)) == {"output": "x" * (VALUES_MAX + 1)}


class Angry:
    def __repr__(self):
        raise RuntimeError("no")

    def __getattribute__(self, name):
        raise RuntimeError("no")


def test_descriptions_are_json_and_never_raise():
    loop: list[object] = []
    loop.append(loop)
    for value in (Angry(), {"a": Angry(), 1: b"xyz"}, loop, float("nan"), 10**5000, "\ud800", Data, object(), {1, 2}):
        json.dumps(describe(value), allow_nan=False).encode()
        to_struct({"x": {"y": describe(value)}})
    assert describe({"a": (1, "x", None), "b": b"xyz"}) == {"a": [1, "x", None], "b": "<3 bytes>"}


def test_descriptions_are_bounded():
    assert len(json.dumps(describe("x" * 10**6))) < DESCRIBED_CHARS_MAX + 100
    described = describe(list(range(10**5)))
    assert isinstance(described, list)
    assert len(described) <= DESCRIBED_ITEMS_MAX + 1
    assert len(json.dumps(describe([["x" * 100] * 1000] * 1000))) < 4 * DESCRIBED_CHARS_MAX
