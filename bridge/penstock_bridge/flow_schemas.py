"""The inputs and outputs of the flows that are served, as components of an OpenAPI document."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.struct_pb2 import Struct

from penstock.v1.flow_pb2 import Flow
from penstock.values import from_struct
from penstock_bridge.schemas import COMPONENTS, Schema

_DATA = frozenset({"const", "default", "enum", "examples"})
"""Keywords whose values are data, in which `$ref` is no reference."""

_MAPS = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords whose values are objects of schemas, under names that are no keywords."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSchemas:
    """Where a document describes one flow."""

    flow: str
    description: str
    inputs: Schema
    """A reference to the schema of the inputs."""
    outputs: Schema
    """A reference to the schema of the outputs."""
    needs_inputs: bool
    """Some input must be sent."""


def flow_schemas(flows: Iterable[Flow], components: dict[str, Schema]) -> list[FlowSchemas]:
    """Adds the schemas of flows to a document's components, and says where they are."""
    return [
        FlowSchemas(
            flow=flow.flow,
            description=flow.description,
            inputs=_add(f"{flow.flow}.inputs", flow.input_schema, components),
            outputs=_add(f"{flow.flow}.outputs", flow.output_schema, components),
            needs_inputs=bool(from_struct(flow.input_schema).get("required")),
        )
        for flow in flows
    ]


def _add(name: str, source: Struct, components: dict[str, Schema]) -> Schema:
    key = _unused(re.sub(r"[^A-Za-z0-9._-]", "_", name), components)
    root = COMPONENTS + key
    components[key] = _moved({"type": "object"} | from_struct(source), root)
    return {"$ref": root}


def _unused(name: str, components: dict[str, Schema]) -> str:
    key, number = name, 1
    while key in components:
        number += 1
        key = f"{name}_{number}"
    return key


def _moved(schema: Any, root: str) -> Any:
    """A schema whose references to its own parts hold where it now lies."""
    if isinstance(schema, list):
        return [_moved(item, root) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _moved_keyword(key, value, root) for key, value in schema.items() if key != "$schema"}


def _moved_keyword(key: str, value: Any, root: str) -> Any:
    if key in _DATA:
        return value
    if key in _MAPS and isinstance(value, dict):
        return {name: _moved(item, root) for name, item in value.items()}
    if key == "$ref" and isinstance(value, str):
        return _moved_ref(value, root)
    if key == "discriminator" and isinstance(value, dict) and isinstance(value.get("mapping"), dict):
        return value | {"mapping": {name: _moved_ref(ref, root) for name, ref in value["mapping"].items()}}
    return _moved(value, root)


def _moved_ref(ref: Any, root: str) -> Any:
    return root + ref[1:] if isinstance(ref, str) and ref.startswith("#") else ref
