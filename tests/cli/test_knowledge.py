"""`penstock knowledge` builds, lists, searches and drops."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.shell import refused, run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with documents in it."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/tea.md").write_text("# Tea\nGreen tea and black tea.\n")
    (tmp_path / "docs/bad.md").write_bytes(b"\xff")
    (tmp_path / "docs/退货.txt").write_text("七天之内可以退货")
    return tmp_path


@pytest.fixture(scope="module")
def model_server() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.modelserver", "--port", "0"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_a_folder_is_built_listed_searched_and_dropped(shop: Path) -> None:
    done = run("knowledge", "build", "shop", "docs", cwd=shop)
    assert (done.returncode, done.stdout) == (0, "shop: 2 indexed, 0 unchanged, 0 removed, 1 skipped; 2 chunks\n")
    assert "skipped bad.md: it is not UTF-8" in done.stderr
    assert run("knowledge", "list", cwd=shop).stdout == "shop  2 files  2 chunks  keywords  docs\n"
    done = run("knowledge", "search", "shop", "退货 tea", "--top-k", "1", "--source", "tea.md", cwd=shop)
    assert done.stdout.split("  ", 1)[1] == "tea.md:2  Tea\n       Green tea and black tea.\n"
    assert run("knowledge", "search", "shop", "coffee", cwd=shop).stdout == ""
    assert run("knowledge", "drop", "shop", cwd=shop).stdout == "shop is removed\n"
    done = run("knowledge", "list", cwd=shop)
    assert (done.stdout, done.stderr) == (
        "",
        "there are no knowledge bases: penstock knowledge build NAME FOLDER makes one\n",
    )


def test_a_model_makes_vectors_through_a_connection(shop: Path, model_server: str) -> None:
    env = {"OPEN_TYPE": "open_ai", "OPEN_BASE_URL": model_server}
    done = run("knowledge", "build", "shop", "docs", "--connection", "open", "--model", "echo", cwd=shop, env=env)
    assert (done.returncode, "2 chunks" in done.stdout) == (0, True), done.stderr
    assert run("knowledge", "list", cwd=shop).stdout == "shop  2 files  2 chunks  echo (8 dimensions)  docs\n"
    done = run("knowledge", "search", "shop", "green", cwd=shop, env=env)
    assert done.stdout.count("tea.md:2") == 1
    assert "Traceback" not in done.stderr
    said = refused("knowledge", "build", "shop", "docs", "--model", "other", cwd=shop, env=env)
    assert "was built with the model `echo`, not with `other`" in said
    assert "there is no connection `open`" in refused("knowledge", "search", "shop", "green", cwd=shop)


@pytest.mark.parametrize(("with_model", "count"), [(False, 3000), (True, 1000)], ids=["words", "vectors"])
def test_a_build_that_is_killed_is_taken_up_again(
    tmp_path: Path, model_server: str, with_model: bool, count: int
) -> None:
    (tmp_path / "docs").mkdir()
    for number in range(count):
        (tmp_path / f"docs/{number}.md").write_text(f"# Tea {number}\nGreen tea number {number}\n")
    command = ["knowledge", "build", "shop", "docs"]
    command += ["--connection", "open", "--model", "echo"] if with_model else []
    env = {"OPEN_TYPE": "open_ai", "OPEN_BASE_URL": model_server}
    with subprocess.Popen([sys.executable, "-m", "penstock", *command], cwd=tmp_path, env=os.environ | env) as build:
        manifest = tmp_path / ".penstock/knowledge/shop/manifest.json"
        deadline = time.monotonic() + 60
        while not manifest.is_file() or manifest.read_text().count('"digest"') < 100:
            assert (build.poll(), time.monotonic() < deadline) == (None, True)
        build.kill()
    done = run(*command, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout.endswith(f" 0 skipped; {count} chunks\n")) == (0, True), done.stderr
    assert not done.stdout.startswith(f"shop: {count} indexed"), "what was done before is kept"
    found = [run("knowledge", "search", "shop", f"Green tea {number}", "--top-k", "100", "--source", f"{number}.md",
                 cwd=tmp_path, env=env).stdout.count(f"{number}.md:2") for number in (0, 99, count - 1)]  # fmt: skip
    assert found == [1, 1, 1]


def test_what_is_wrong_is_told(shop: Path) -> None:
    run("knowledge", "build", "shop", "docs", cwd=shop)
    assert "there is no folder nowhere" in refused("knowledge", "build", "other", "nowhere", cwd=shop)
    assert "(did you mean `shop`?)" in refused("knowledge", "search", "shpo", "tea", cwd=shop)
    assert "a chunk may have 100 to 8000 characters" in refused(
        "knowledge", "build", "shop", "docs", "--chunk-chars", "5", cwd=shop
    )
    assert "penstock knowledge drop shop first" in refused(
        "knowledge", "build", "shop", "docs", "--connection", "a", "--model", "b", cwd=shop
    )


def test_it_lies_in_the_data_folder(shop: Path) -> None:
    run("knowledge", "build", "shop", "docs", "--data", "elsewhere", cwd=shop)
    assert (shop / "elsewhere/knowledge/shop/manifest.json").is_file()
    assert run("knowledge", "list", cwd=shop, env={"PENSTOCK_DATA": "elsewhere"}).stdout.startswith("shop ")


def test_a_check_names_knowledge_that_is_not_there(shop: Path) -> None:
    (shop / "flow").mkdir()
    (shop / "flow/flow.dag.yaml").write_text("""\
inputs: {question: {type: string}}
outputs: {found: {type: list, reference: "${find.output}"}}
nodes:
- name: find
  type: retrieval
  inputs:
    query: ${inputs.question}
    knowledge: shpo
    top_k: 500
""")
    run("knowledge", "build", "shop", "docs", cwd=shop)
    told = run("check", "flow", cwd=shop).stdout
    assert "flow/flow.dag.yaml:8:16: node `find`: there is no knowledge base `shpo`" in told
    assert "flow/flow.dag.yaml:9:12: node `find`: `top_k` must be a whole number from 1 to 100" in told
    file = shop / "flow/flow.dag.yaml"
    file.write_text(file.read_text().replace("shpo", "shop").replace("500", "3"))
    assert run("check", "flow", cwd=shop).stdout == "flow: no problems\n"
