"""`penstock connections check` tries each connection and says what is wrong."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.shell import refused, run

REPOSITORY = Path(__file__).parents[2]
KEY = "sk-not-to-be-shown"


@pytest.fixture(scope="module")
def model_server() -> Iterator[str]:
    """The address of a model server, started as one would by hand."""
    command = [sys.executable, "-m", "tests.modelserver", "--port", "0", "--key", KEY]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_each_connection_is_tried_and_told(tmp_path: Path, model_server: str) -> None:
    (tmp_path / "own.yaml").write_text(f"""\
good: {{type: open_ai, api_key: {KEY}, base_url: "{model_server}"}}
bad: {{type: open_ai, api_key: other-{KEY}, base_url: "{model_server}"}}
gone: {{type: open_ai, api_key: {KEY}, base_url: "http://127.0.0.1:1"}}
unset: {{type: open_ai, api_key: "${{env:NOT_THERE}}"}}
shop: {{type: mysql, port: 1, user: me, password: {KEY}, database: shop}}
log: {{type: postgresql, port: 1, database: log}}
docs: {{type: milvus, uri: ./docs.db}}
mail: {{type: custom, secrets: {{password: {KEY}}}}}
""")
    done = run("connections", "check", "--connections", "own.yaml", cwd=tmp_path)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert [name for name, line in lines.items() if " ok " in line] == ["good", "docs", "mail"]
    assert "refused the key (401); check the connection's `api_key`" in lines["bad"]
    assert "cannot be reached at 127.0.0.1:1" in lines["gone"]
    assert "NOT_THERE" in lines["unset"]
    assert "127.0.0.1:1: no connection to it comes about" in lines["shop"]
    assert "127.0.0.1:1: nothing listens there" in lines["log"]
    assert KEY not in done.stdout + done.stderr


def test_those_that_are_named_are_tried_from_the_environment_too(tmp_path: Path, model_server: str) -> None:
    env = {"MY_MODEL_TYPE": "open_ai", "MY_MODEL_API_KEY": KEY, "MY_MODEL_BASE_URL": model_server}
    done = run("connections", "check", "my_model", cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout.split()[:3]) == (0, ["my_model", "open_ai", "ok"])
    done = run("connections", "check", "my_modle", cwd=tmp_path, env=env)
    assert "there is no connection `my_modle` (did you mean `my_model`?)" in done.stdout
    assert done.returncode == 1


def test_no_connections_and_a_broken_file_are_told(tmp_path: Path) -> None:
    assert "there are no connections: declare some in connections.yaml" in refused(
        "connections", "check", cwd=tmp_path, env={"PENSTOCK_DATA": "none"}
    )
    (tmp_path / "connections.yaml").write_text(f"a: {{type: open_ai, api_kye: {KEY}}}")
    said = refused("connections", "check", "--flow", ".", cwd=tmp_path)
    assert "connection `a` has no `api_kye` (did you mean `api_key`?)" in said
    assert KEY not in said
