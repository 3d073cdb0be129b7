"""Validators are code of the flow: where there are any, inputs are checked in a thread."""

import asyncio
import datetime
import enum
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic import dataclasses as pydantic_dataclasses

from penstock.flow import InvalidInput
from penstock_server.errors import FlowFailed, InputRefused, InvalidRequest
from penstock_server.flows.schemas import adapter
from penstock_server.flows.uservalidators import has_user_code

ran: Any = None
"""What the validator of `Checked` does."""


class Checked(BaseModel):
    x: int

    @field_validator("x")
    @classmethod
    def check(cls, value: int) -> int:
        ran(value)
        return value


def checked(model: Checked) -> int:
    return model.x


def raises(error: BaseException) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise error

    return fail


@pytest.fixture
def validator(monkeypatch):
    return lambda code: monkeypatch.setattr(f"{__name__}.ran", code)


async def test_a_validator_that_blocks_leaves_the_loop_free(flow_of, validator):
    gate = threading.Event()
    threads: list[int] = []

    def block(_: object) -> None:
        threads.append(threading.get_ident())
        assert gate.wait(10)

    validator(block)
    arguments = asyncio.create_task(flow_of(checked).arguments({"model": {"x": 1}}))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not arguments.done()
    gate.set()
    assert await arguments == {"model": Checked.model_construct(x=1)}
    assert threads != [threading.get_ident()]


async def test_what_a_validator_raises_is_the_flows_failure(flow_of, validator):
    validator(raises(RuntimeError("no such customer")))
    with pytest.raises(FlowFailed, match="flow `checked` raised RuntimeError: no such customer") as caught:
        await flow_of(checked).arguments({"model": {"x": 1}})
    assert caught.value.metadata == {"flow": "checked"}
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert frames[-1].name == "fail"
    assert not any("penstock_server" in frame.filename for frame in frames)


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError(), KeyboardInterrupt(), StopIteration()])
async def test_nothing_that_a_validator_raises_reaches_the_loop(flow_of, validator, error):
    validator(raises(error))
    with pytest.raises(FlowFailed, match=type(error).__name__):
        await flow_of(checked).arguments({"model": {"x": 1}})


async def test_a_validator_may_refuse_the_input_in_three_ways(flow_of, validator):
    flow = flow_of(checked)
    for error in (ValueError("is odd"), AssertionError("is odd")):
        validator(raises(error))
        with pytest.raises(InvalidRequest) as invalid:
            await flow.arguments({"model": {"x": 1}})
        assert invalid.value.violations == (("inputs.model.x", "is odd"),)
        assert invalid.value.metadata == {}
    validator(raises(InvalidInput("is odd", input="model")))
    with pytest.raises(InputRefused) as refused:
        await flow.arguments({"model": {"x": 1}})
    assert refused.value.violations == (("inputs.model", "is odd"),)


async def test_what_is_wrong_besides_is_told_as_ever(flow_of, validator):
    validator(lambda _: None)
    with pytest.raises(InvalidRequest) as caught:
        await flow_of(checked).arguments({"model": {"x": "1"}, "modle": 1})
    assert dict(caught.value.violations) == {
        "inputs.model.x": "must be an integer, not a string",
        "inputs.modle": "is not an input of this flow; did you mean `model`?",
    }


class Color(enum.Enum):
    RED = "red"


class Forgiving(enum.Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, value: object) -> "Forgiving":
        return cls.RED


@dataclass
class Point:
    x: int
    y: list[int] = field(default_factory=list)


class Address(BaseModel):
    street: Annotated[str, Field(min_length=1)]
    type: Color = Color.RED
    points: list[Point] = []
    inner: "Address | None" = None


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Options(TypedDict, total=False):
    address: Address


PLAIN = [
    int, str | None, Any, bool, Decimal, UUID, datetime.datetime, list[int], tuple[int, str], set[str], dict[str, Any],
    Color, Literal["a", 1], Annotated[int, Field(ge=1)], Point, Address, Options, dict[str, list[Address]],
    Annotated[Cat | Dog, Field(discriminator="kind")],
]  # fmt: skip


@pytest.mark.parametrize("hint", PLAIN)
def test_plain_types_models_and_dataclasses_hold_no_code(hint):
    assert not has_user_code(adapter(hint))


class Initialized(BaseModel):
    x: int

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)


class PostInitialized(BaseModel):
    x: int

    def model_post_init(self, context: Any, /) -> None:
        """Code of the user's."""


class Private(BaseModel):
    _made: int = PrivateAttr(default_factory=lambda: 1)


class Created(BaseModel):
    def __new__(cls, *args: Any, **values: Any) -> "Created":
        return super().__new__(cls)


class Made(BaseModel):
    x: int = Field(default_factory=lambda: 1)


class Whole(BaseModel):
    @model_validator(mode="after")
    def check(self) -> "Whole":
        return self


@dataclass
class PostPoint:
    x: int

    def __post_init__(self) -> None:
        """Code of the user's."""


@pydantic_dataclasses.dataclass
class ValidatedPoint:
    x: int

    @field_validator("x")
    @classmethod
    def check(cls, value: int) -> int:
        return value


@dataclass(frozen=True)
class Hashed:
    x: int

    def __hash__(self) -> int:
        return 1


class Copied:
    def __deepcopy__(self, memo: object) -> "Copied":
        return self


class Defaulted(BaseModel):
    x: Any = [Copied()]


class Pair(NamedTuple):
    x: int


class Deep(BaseModel):
    serialization: list[Checked] = []


WITH_CODE = [
    Checked, Initialized, PostInitialized, Private, Created, Made, Whole, PostPoint, ValidatedPoint, set[Hashed],
    frozenset[Hashed], Defaulted, Pair, Forgiving, Path, Deep, list[Checked], dict[str, tuple[int, Checked | None]],
    Annotated[int, AfterValidator(abs)], Annotated[list[Annotated[int, BeforeValidator(abs)]], Field(max_length=2)],
    Annotated[Annotated[Cat, Tag("c")] | Annotated[Dog, Tag("d")], Discriminator(lambda value: "c")],
    TypedDict("Holder", {"default": Checked}),
]  # fmt: skip


@pytest.mark.parametrize("hint", WITH_CODE)
def test_whatever_may_execute_code_of_the_users_is_found(hint):
    assert has_user_code(adapter(hint))


def test_a_field_may_have_any_name():
    names = dict.fromkeys(("type", "schema", "cls", "metadata", "config", "expected", "function"), int)
    fine = TypeAdapter(dict[str, int])
    assert not has_user_code(fine)
    assert not has_user_code(adapter(TypedDict("Plain", names)))  # type: ignore[operator]
    assert has_user_code(adapter(TypedDict("Coded", {**names, "type": Checked})))  # type: ignore[operator]
