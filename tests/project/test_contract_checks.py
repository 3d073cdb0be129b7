"""The checks that guard the contract do find what they are there for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A small repository with the contract, its checks and the tools that they use."""
    if shutil.which("git") is None:
        pytest.skip("git is not here")
    for name in ("proto", "tools", "clients"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    shutil.copy(REPOSITORY / "buf.yaml", tmp_path)
    (tmp_path / ".tools").mkdir()
    shutil.copytree(REPOSITORY / ".tools/googleapis", tmp_path / ".tools/googleapis")
    (tmp_path / ".tools/generate").symlink_to(REPOSITORY / ".tools/generate")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", "proto", "buf.yaml", "tools")
    git(tmp_path, "commit", "--quiet", "--message=before")
    return tmp_path


def test_a_change_that_breaks_callers_is_found(clone: Path) -> None:
    edit(clone, "string flow = 1 [", "string flow = 99 [")
    result = check(clone, "tools/check-breaking")
    assert result.returncode != 0
    assert "GetFlowRequest" in result.stdout


def test_a_committed_change_that_breaks_callers_is_found_on_main(clone: Path) -> None:
    edit(clone, "rpc GetFlow(", "rpc FetchFlow(")
    edit(clone, "string flow = 1 [", "string flow = 99 [")
    git(clone, "commit", "--quiet", "--all", "--message=after")
    assert check(clone, "tools/check-breaking").returncode != 0


def test_a_change_that_adds_breaks_nobody(clone: Path) -> None:
    edit(clone, "string flow = 1 [", "string added = 98;\n  string flow = 1 [")
    result = check(clone, "tools/check-breaking")
    assert result.returncode == 0, result.stdout


def test_generated_code_that_lags_behind_the_contract_is_found(clone: Path) -> None:
    assert check(clone, "tools/generate", ".").returncode == 0
    assert check(clone, "tools/check-generated").returncode == 0
    edit(clone, "Lists the flows that this service serves", "Names the flows that this service serves")
    result = check(clone, "tools/check-generated")
    assert result.returncode != 0
    assert "descriptors.binpb" in result.stdout


def check(clone: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "AGAINST"}
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)


def edit(clone: Path, old: str, new: str) -> None:
    file = clone / "proto/penstock/v1/flow.proto"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)
