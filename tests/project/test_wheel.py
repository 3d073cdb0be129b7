"""What an installed Penstock consists of."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        ".",
    ]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    (file,) = folder.glob("penstock-*.whl")
    return zipfile.ZipFile(file).namelist()


def test_it_holds_the_three_packages_with_their_types(wheel: list[str]) -> None:
    for package in ("penstock", "penstock_server", "penstock_bridge"):
        assert f"{package}/__init__.py" in wheel
        assert f"{package}/py.typed" in wheel


def test_it_holds_the_contract(wheel: list[str]) -> None:
    assert "penstock/v1/descriptors.binpb" in wheel
    assert "penstock/v1/flow_pb2.py" in wheel
    assert "penstock/v1/flow_pb2.pyi" in wheel


def test_it_holds_the_licence(wheel: list[str]) -> None:
    assert [name for name in wheel if name.endswith(".dist-info/licenses/LICENSE")]


def test_it_holds_every_file_of_the_packages_and_no_others(wheel: list[str]) -> None:
    roots = ("server", "bridge", "clients/python")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *roots]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip("this is a copy without git's record of what belongs to it")
    present = [name for name in result.stdout.splitlines() if (REPOSITORY / name).exists()]
    packaged = {name.removeprefix(f"{root}/") for name in present for root in roots if name.startswith(f"{root}/")}
    assert {name for name in wheel if ".dist-info/" not in name} == packaged
