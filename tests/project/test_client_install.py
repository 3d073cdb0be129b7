"""The plain install is the client, it needs its own dependencies only, and runs with old and new ones."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
OLDEST = REPOSITORY / ".tools/client-oldest/bin/python"
NEWEST = REPOSITORY / ".tools/client-newest/bin/python"
SERVER_PACKAGES = ("aiohttp", "jinja2", "orjson", "pydantic", "yaml", "uvloop", "grpc_health", "grpc_reflection")

INSTALLS = [pytest.param(OLDEST, id="oldest dependencies"), pytest.param(NEWEST, id="newest dependencies")]


def run(python: Path, code: str) -> str:
    assert python.exists(), "make test makes this environment"
    command = [str(python), "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=python.parent)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("python", INSTALLS)
def test_generated_types_survive_the_wire(python: Path) -> None:
    code = """
from penstock.v1.error_pb2 import ErrorReason
from penstock.v1.flow_pb2 import Flow, InvokeRequest
from penstock.v1.flow_pb2_grpc import FlowServiceStub
from penstock.v1.run_pb2 import Run, RunEvent
from penstock.values import from_struct, to_struct

request = InvokeRequest(flow="f", inputs=to_struct({"question": "多少？", "numbers": [1, 2.5, None, True]}))
again = InvokeRequest.FromString(request.SerializeToString())
assert again == request and from_struct(again.inputs) == {"question": "多少？", "numbers": [1, 2.5, None, True]}
assert Run.Status.Name(Run.SUCCEEDED) == "SUCCEEDED" and ErrorReason.Value("FLOW_FAILED") and Flow.CHAT
assert RunEvent.FromString(RunEvent(sequence=1).SerializeToString()).WhichOneof("event") is None
"""
    run(python, code)


@pytest.mark.parametrize("python", INSTALLS)
def test_the_client_imports_with_its_own_dependencies_alone(python: Path) -> None:
    found = run(
        python,
        f"""
import importlib.util, pkgutil, sys
assert not [name for name in {SERVER_PACKAGES} if importlib.util.find_spec(name)]
import penstock
for module in pkgutil.walk_packages(penstock.__path__, "penstock."):
    if not module.name.startswith("penstock.cli."):
        __import__(module.name)
print(*sorted(name for name in sys.modules if name in ("penstock_server", "penstock_bridge")))
""",
    )
    assert found == ""


@pytest.mark.parametrize("python", INSTALLS)
def test_serve_says_what_to_install_where_the_server_is_not(python: Path) -> None:
    command = [str(python.with_name("penstock")), "serve", "hello:hello"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY / "examples/hello")
    assert result.returncode != 0
    assert "penstock[server]" in result.stderr
    assert "Traceback" not in result.stderr


def test_what_a_flow_imports_needs_the_standard_library_alone() -> None:
    before = "import sys; before = set(sys.modules)\nimport penstock.connections, penstock.flow\n"
    after = "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    assert run(NEWEST, before + after) == "penstock"


def test_the_oldest_dependencies_are_those_that_the_project_declares() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = {
        match[1]: match[2] for entry in project["dependencies"] if (match := re.match(r"([\w-]+)>=([\d.]+)", entry))
    }
    tested = dict(
        line.split("==")
        for line in (REPOSITORY / "constraints-oldest.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    assert {name: _numbers(version) for name, version in tested.items()} == {
        name: _numbers(version) for name, version in declared.items()
    }


def _numbers(version: str) -> list[int]:
    """6.30 and 6.30.0 are one version."""
    return [int(part) for part in version.removesuffix(".0").split(".")]
