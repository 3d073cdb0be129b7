"""Runs every case under cases/ through every door: gRPC, a bridge in a process of its own, and one process."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.contract import grpc_door, http_door
from tests.contract.matching import difference
from tests.contract.services import Doors

CASES = [
    (path.stem, case)
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]
CASE_KEYS = {"promise", "grpc", "http", "metadata", "token", "reason", "violations", "retry_after"}


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
    call = grpc_door.call if door == "grpc" else http_door.call
    got = call(getattr(doors, door), case)
    assert not (found := difference(case, got)), f"{found}\ngot: {got}"
