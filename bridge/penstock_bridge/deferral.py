"""Answers that come before the work is done: 202, and where to ask later how it stands (RFC 9110 §15.3.3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from penstock_bridge.binding import InvalidBinding, bindings, scalar_field
from penstock_bridge.methods import Method
from penstock_bridge.templates import Template

LOCATION = "Location"
"""The header that says where to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """How a method is asked to answer at once, and where the rest is told."""

    when: str
    """The field of the request by which callers ask for it."""
    asked: Callable[[Any], bool]
    """Whether a request asks for it."""
    template: Template
    """The path that tells later how the work stands; fields of the response fill it."""

    def location(self, response: Any) -> str:
        """The path, below the base path, that tells how the work of this response stands."""
        return self.template.fill([reduce(getattr, variable.field, response) for variable in self.template.variables])


def deferral(method: Method, methods: Mapping[str, Method]) -> Deferral | None:
    """How the method answers before its work is done; None where it does not.

    Args:
        methods: all methods of the contract, by the paths of their gRPC calls.

    Raises:
        InvalidBinding: the method's option names what there is not.
    """
    option = method.deferral
    if option is None:
        return None
    if method.streams:
        raise InvalidBinding(f"{method.path}: deferral is for unary methods")
    shown = f"{method.path}: deferral.when"
    if scalar_field(method.input, tuple(option.when.split(".")), shown).type != FieldDescriptor.TYPE_BOOL:
        raise InvalidBinding(f"{shown}: {option.when} is no bool")
    template = _location(method, option.then, methods)
    return Deferral(when=option.when, asked=attrgetter(option.when), template=template)


def _location(method: Method, then: str, methods: Mapping[str, Method]) -> Template:
    shown = f"{method.path}: deferral.then"
    other = methods.get(f"/{method.descriptor.containing_service.file.package}.{then.replace('.', '/')}")
    if other is None:
        raise InvalidBinding(f"{shown}: {then} is no method with a path")
    template = next((each.template for each in bindings(other) if each.http_method == "GET"), None)
    if template is None:
        raise InvalidBinding(f"{shown}: {then} has no path for GET")
    if template.has_unbound_wildcards:
        raise InvalidBinding(f"{shown}: the path of {then} has parts that no field fills")
    for variable in template.variables:
        name = ".".join(variable.field)
        field = scalar_field(method.output, variable.field, f"{shown}: the path variable {name}")
        if field.type != FieldDescriptor.TYPE_STRING:
            raise InvalidBinding(f"{shown}: {name} is no string")
    return template
