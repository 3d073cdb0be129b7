"""Flows whose inputs are choosy."""

import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_validator


class Item(BaseModel):
    name: str
    quantity: int = Field(ge=5)
    tags: list[str] = Field(min_length=2)
    note: str = ""


class Tree(BaseModel):
    label: str
    left: "Tree | None"
    others: list["Tree"]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    barks: bool


class Fussy(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def _never(cls, value: str) -> str:
        raise KeyError(value)


async def choices(color: Literal["red", "blue"], only: Literal[3], size: int | None) -> str:
    return color


async def numbers(
    least: Annotated[int, Field(ge=5)],
    between: Annotated[float, Field(gt=10, lt=10.5)],
    negative: Annotated[int, Field(lt=0)],
    sevens: Annotated[int, Field(gt=20, multiple_of=7)],
    exact: Decimal,
) -> str:
    return str(least)


async def texts(
    long: Annotated[str, Field(min_length=8)],
    short: Annotated[str, Field(max_length=3)],
    quoted: Annotated[str, Field(examples=["it's $HOME"])],
    day: datetime.date,
    moment: datetime.datetime,
    span: datetime.timedelta,
    name: UUID,
) -> str:
    return quoted


async def models(item: Item, tree: Tree, pet: Annotated[Cat | Dog, Field(discriminator="kind")]) -> str:
    return item.name


async def collections(
    pair: tuple[int, str], filled: Annotated[dict[str, int], Field(min_length=1)], anything: Any
) -> str:
    return pair[1]


async def optional(text: str = "hi") -> str:
    return text


async def nothing() -> str:
    return "done"


async def pattern(code: Annotated[str, Field(pattern="^[0-9]{4}$")], count: int) -> str:
    return code


async def fussy(value: Fussy) -> str:
    return value.text
