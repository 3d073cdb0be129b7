"""`penstock db`: the tables of a service, apart from its start."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.service import penstock

FLOWS = Path(__file__).parent / "flows"
ANYWHERE = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "penstock", *args], cwd=cwd, capture_output=True, text=True)


def test_tables_are_made_once_and_told_of(tmp_path: Path) -> None:
    before = run("db", "current", cwd=tmp_path)
    assert before.returncode == 1
    assert "there is no store" in before.stderr
    assert not (tmp_path / ".penstock").exists()
    assert run("db", "upgrade", cwd=tmp_path).stdout == "revision 0002, newly made\n"
    assert run("db", "upgrade", cwd=tmp_path).stdout == "revision 0002, as before\n"
    assert run("db", "current", cwd=tmp_path).stdout == "revision 0002, the newest\n"
    assert run("db", "history", cwd=tmp_path).stdout.splitlines()[-1].startswith("* 0002  ")


def test_each_service_has_tables_of_its_own(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/shared.db"
    assert run("db", "upgrade", "--store", store, "--service", "one", cwd=tmp_path).returncode == 0
    missing = run("db", "current", "--store", store, "--service", "two", cwd=tmp_path)
    assert missing.returncode == 1
    assert "the tables of the service 'two' are missing" in missing.stderr
    listed = run("db", "history", "--store", store, "--service", "two", cwd=tmp_path)
    assert listed.stdout.startswith("  0001  ")


def test_a_store_that_a_newer_penstock_has_migrated_is_refused_everywhere(tmp_path: Path) -> None:
    run("db", "upgrade", cwd=tmp_path)
    with closing(sqlite3.connect(tmp_path / ".penstock/chat_history.db")) as database:
        database.execute("UPDATE penstock_alembic_penstock SET version_num = '9999'")
        database.commit()
    for command in (["db", "upgrade"], ["db", "current"], ["serve", "lifecycle:echo", *ANYWHERE]):
        refused = run(*command, "--data", f"{tmp_path}/.penstock", cwd=FLOWS)
        assert refused.returncode == 1, refused.stdout
        assert "revision 9999, which this Penstock does not know" in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", [["db", "upgrade"], ["serve", "lifecycle:echo", *ANYWHERE]])
def test_an_address_that_is_wrong_is_an_error_without_the_password(command: list[str]) -> None:
    refused = run(*command, "--store", "mysql://me:secret@127.0.0.1:1/db", cwd=FLOWS)
    assert refused.returncode == 1
    assert "mysql://me:***@127.0.0.1:1/db cannot be opened" in refused.stderr
    assert "secret" not in refused.stderr + refused.stdout


def test_a_second_server_on_the_same_data_is_told_what_to_do(tmp_path: Path) -> None:
    data = ("--data", f"{tmp_path}/.penstock")
    with penstock("serve", "lifecycle:echo", *ANYWHERE, *data, folder=tmp_path / "first", cwd=FLOWS) as first:
        refused = run("serve", "lifecycle:echo", *ANYWHERE, *data, cwd=FLOWS)
        assert refused.returncode == 1
        assert f"is in use by process {first.process.pid}" in refused.stderr
        assert "--store sqlite:///PATH" in refused.stderr
        assert run("db", "current", *data, cwd=FLOWS).returncode == 0


def test_without_migrations_a_server_needs_tables_that_are_there(tmp_path: Path) -> None:
    start = ("serve", "lifecycle:echo", *ANYWHERE, "--no-migrate")
    data = ("--data", f"{tmp_path}/.penstock")
    refused = run(*start, *data, cwd=FLOWS)
    assert refused.returncode == 1
    assert "penstock db upgrade" in refused.stderr
    run("db", "upgrade", *data, cwd=FLOWS)
    with penstock(*start, *data, folder=tmp_path / "first", cwd=FLOWS):
        pass


def test_without_a_store_nothing_is_left_behind(tmp_path: Path) -> None:
    for switch in (["--no-store"], ["--store", "none"]):
        data = ("--data", f"{tmp_path}/.penstock")
        with penstock("serve", "lifecycle:echo", *ANYWHERE, *switch, *data, folder=tmp_path / "it", cwd=FLOWS):
            assert not (tmp_path / ".penstock").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "the store mysql://me:***@127.0.0.1:1/db cannot be opened"),
        ("model", "is a OpenAIConnection; a store needs one of type mysql or postgresql"),
        ("nowhre", "there is no connection `nowhre`; did you mean `nowhere`?"),
    ],
)
def test_a_store_may_be_a_connection_by_its_name(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "connections.yaml").write_text(
        "nowhere: {type: mysql, host: 127.0.0.1, port: 1, user: me, password: hidden-word, database: db}\n"
        "model: {type: open_ai, api_key: hidden-word}\n"
    )
    given = ("--store", f"connection:{name}", "--connections", str(tmp_path / "connections.yaml"))
    refused = run("db", "current", *given, cwd=tmp_path)
    assert refused.returncode in (1, 2)
    assert said in refused.stderr
    assert "hidden-word" not in refused.stderr
