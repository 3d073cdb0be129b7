"""`penstock history` brings conversations in, tells how far it came, and how much is stored."""

import json
import sqlite3
from pathlib import Path

import pytest
from tests.cli.shell import refused, run

SESSION = "s" * 32
TIME = "2024-05-01T12:00:00Z"

MAPPING = """
source: old.db
table: chats
columns: {session: conversation, user: who, time: at, role: role, text: body}
time_format: unix_s
"""


def line(turn: int, **changes: object) -> dict[str, object]:
    """A question as it is exported."""
    message = {"session": SESSION, "turn": turn, "role": "USER", "text": f"question {turn}", "createTime": TIME}
    return {"message": message | changes}


def write(path: Path, *lines: object) -> Path:
    """A file of lines."""
    path.write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    return path


def stats(cwd: Path) -> dict[str, int]:
    """What is stored."""
    counted: dict[str, int] = json.loads(run("history", "stats", "--json", cwd=cwd).stdout)
    return counted


def test_a_file_is_imported_once_however_often(tmp_path: Path) -> None:
    write(tmp_path / "chats.jsonl", line(1), line(2))
    run("db", "upgrade", cwd=tmp_path)
    done = run("history", "import", "chats.jsonl", "--dry-run", cwd=tmp_path)
    assert done.stdout == "Would import 2 messages and 1 new sessions; 0 messages were there already.\n"
    done = run("history", "import", "chats.jsonl", cwd=tmp_path)
    assert done.stdout == "Imported 2 messages and 1 new sessions; 0 messages were there already.\n"
    assert done.stderr == ""
    done = run("history", "import", "-", cwd=tmp_path, stdin=(tmp_path / "chats.jsonl").read_text())
    assert done.stdout == "Imported 0 messages and 0 new sessions; 2 messages were there already.\n"
    counted = stats(tmp_path)
    assert counted.pop("size_bytes") > 0
    assert counted == {"sessions": 1, "messages": 2, "runs": 0}


def test_an_import_stops_at_the_first_error_and_goes_on_where_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "chats.jsonl", line(1), {"other": 1}, line(2), line(1, text="else"))
    stopped = run("history", "import", "chats.jsonl", cwd=tmp_path)
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert stopped.stderr.startswith("Error: line 2: is neither")
    assert "Imported 1 messages" in stopped.stderr
    assert "--skip-errors" in stopped.stderr
    done = run("history", "import", "chats.jsonl", "--skip-errors", cwd=tmp_path)
    assert done.returncode == 0
    assert "left out: line 2: " in done.stderr
    assert "left out: line 4: " in done.stderr
    assert done.stdout == (
        "Imported 1 messages and 0 new sessions; 1 messages were there already; 2 could not be imported.\n"
    )


def test_an_export_that_was_cut_short_is_imported_and_told_of(tmp_path: Path) -> None:
    frame = {"event": "message", "id": 1, "data": line(1)["message"]}
    write(tmp_path / "cut.ndjson", frame)
    done = run("history", "import", "cut.ndjson", cwd=tmp_path)
    assert (done.returncode, "it was cut short" in done.stderr) == (0, True)
    write(tmp_path / "whole.ndjson", frame, {"event": "done", "id": 1, "data": {}})
    assert run("history", "import", "whole.ndjson", cwd=tmp_path).stderr == ""


def test_a_foreign_table_is_imported_by_its_mapping(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    old = sqlite3.connect(tmp_path / "old.db")
    old.execute("CREATE TABLE chats (conversation INTEGER, who TEXT, at INTEGER, role TEXT, body TEXT)")
    said = [
        (7, "张", 1_700_000_000, "user", "你好"),
        (7, "bot", 1_700_000_001, "assistant", "Hi"),
        (7, "", 0, "tool", "x"),
    ]
    old.executemany("INSERT INTO chats VALUES (?, ?, ?, ?, ?)", said)
    old.commit()
    old.close()
    done = run("history", "import", "--mapping", "mapping.yaml", cwd=tmp_path)
    assert (done.stderr, done.stdout.splitlines()) == (
        "",
        [
            "Imported 2 messages and 1 new sessions; 0 messages were there already.",
            "1 rows were left out by their role.",
        ],
    )
    again = run("history", "import", "old.db", "--mapping", "mapping.yaml", cwd=tmp_path)
    assert "2 messages were there already" in again.stdout


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["import"], "name the file to import, or - for standard input"),
        (["import", "none.jsonl"], "none.jsonl cannot be read: No such file"),
        (["import", "."], ". cannot be read: Is a directory"),
        (["import", "--mapping", "none.yaml"], "the mapping none.yaml cannot be read"),
        (["import", "--mapping", "bad.yaml"], "the mapping bad.yaml:\n`columns`: Field required"),
        (["import", "none.db", "--mapping", "mapping.yaml"], "there is no file"),
        (["import", "other://x", "--mapping", "mapping.yaml"], "is no database that we know"),
        (["import", "mapping.yaml", "--store", "none"], "there is no store"),
        (["stats", "--store", "none"], "there is no store"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, args: list[str], complaint: str) -> None:
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    (tmp_path / "bad.yaml").write_text("table: t")
    assert complaint in refused("history", *args, cwd=tmp_path)


@pytest.mark.parametrize("args", [["stats"], ["import", "chats.jsonl", "--dry-run"]])
@pytest.mark.parametrize(
    "place", [["--data", "nowhere"], ["--store", "sqlite:///nowhere/chats.db"], ["--store", "sqlite:///nowhere.db"]]
)
def test_what_only_looks_makes_nothing_and_names_what_is_missing(
    tmp_path: Path, args: list[str], place: list[str]
) -> None:
    write(tmp_path / "chats.jsonl", line(1))
    complaint = refused("history", *args, *place, cwd=tmp_path)
    assert f"there is no store {tmp_path}/nowhere" in complaint
    assert "penstock db upgrade" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["chats.jsonl"]


@pytest.mark.parametrize("args", [["stats"], ["import", "chats.jsonl", "--dry-run"]])
def test_what_only_looks_makes_no_tables(tmp_path: Path, args: list[str]) -> None:
    write(tmp_path / "chats.jsonl", line(1))
    run("db", "upgrade", "--service", "other", cwd=tmp_path)
    assert "penstock db upgrade" in refused("history", *args, cwd=tmp_path)
    assert run("history", "import", "chats.jsonl", cwd=tmp_path).returncode == 0


def test_rows_in_any_order_become_turns_and_those_that_cannot_be_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(MAPPING.replace("unix_s", '"%d.%m.%Y %H:%M"'))
    old = sqlite3.connect(tmp_path / "old.db")
    old.execute("CREATE TABLE chats (conversation INTEGER, who TEXT, at TEXT, role TEXT, body TEXT)")
    said = [
        (7, "a", "02.01.2024 09:00", "user", "second"),
        (7, "a", "01.12.2023 10:01", "assistant", "first"),
        (7, "a", "01.12.2023 10:00", "user", "first"),
    ]
    old.executemany("INSERT INTO chats VALUES (?, ?, ?, ?, ?)", said)
    old.execute("INSERT INTO chats VALUES (8, 'a', '03.01.2024 09:00', 'user', CAST(x'e9' AS TEXT))")
    old.commit()
    stopped = run("history", "import", "--mapping", "mapping.yaml", cwd=tmp_path)
    named = "row conversation='8', at='03.01.2024 09:00': the column 'body' holds no text"
    assert (stopped.returncode, named in stopped.stderr) == (1, True)
    done = run("history", "import", "--mapping", "mapping.yaml", "--skip-errors", cwd=tmp_path)
    assert (
        done.stdout
        == "Imported 3 messages and 1 new sessions; 0 messages were there already; 1 could not be imported.\n"
    )
    old.execute("INSERT INTO chats VALUES (7, 'a', '02.01.2024 09:01', 'assistant', 'second')")
    old.commit()
    old.close()
    again = run("history", "import", "--mapping", "mapping.yaml", "--skip-errors", cwd=tmp_path)
    assert again.stdout.startswith("Imported 1 messages and 0 new sessions; 3 messages were there already;")


def test_people_are_told_how_much_is_stored(tmp_path: Path) -> None:
    run("db", "upgrade", cwd=tmp_path)
    words = run("history", "stats", cwd=tmp_path).stdout.split()
    assert words[:6] == ["sessions", "0", "messages", "0", "runs", "0"]
    assert words[-1] == "MiB"
