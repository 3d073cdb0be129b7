"""Runs every case under cases/ through every door: gRPC, a bridge in a process of its own, and one process.

A case that names `$SESSION`, `$USER` or `$KEY` gets an id of its own for each run. What comes `given` are cases that
are run before it, through the same door; `$RUN` stands for the run of the latest of them, `$PAGE` for its next page.
"""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from tests.contract import grpc_door, http_door
from tests.contract.matching import Answer, difference
from tests.contract.services import Doors

CASES = [
    (path.stem, case)
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]
CASE_KEYS = {"promise", "grpc", "http", "metadata", "token", "reason", "violations", "retry_after", "given"}


def _runs() -> list[Any]:
    return [
        pytest.param(door, case, id=f"{file}: {case['promise']} [{door}]")
        for file, case in CASES
        for door in ("grpc", "split", "one_process")
        if ("grpc" if door == "grpc" else "http") in case
    ]


@pytest.mark.parametrize(("door", "case"), _runs())
def test_contract(door: str, case: dict[str, Any], doors: Doors) -> None:
    assert set(case) <= CASE_KEYS
    case = _with_ids(case)
    call = grpc_door.call if door == "grpc" else http_door.call
    told: dict[str, str] = {}
    for each in (*case.get("given", ()), case):
        step = _naming(each, told)
        got = call(getattr(doors, door), step)
        assert not (found := difference(step, got)), f"{found}\ngot: {got}"
        told |= _told(got)


def _with_ids(case: dict[str, Any]) -> dict[str, Any]:
    return _naming(case, {name: f"{name[1:].lower()}-{uuid4()}" for name in ("$SESSION", "$USER", "$KEY")})


def _told(got: Answer) -> dict[str, str]:
    """What the steps that follow may name."""
    page = got.response.get("nextPageToken") if isinstance(got.response, dict) else None
    found = {"$RUN": got.headers.get("penstock-run-id"), "$PAGE": page}
    return {name: value for name, value in found.items() if value}


def _naming(case: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    text = json.dumps(case)
    for name, id_ in ids.items():
        text = text.replace(name, id_)
    return json.loads(text)
