"""The commands do what their help says, and answer mistakes with what to do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.service import TOKEN, penstock

FLOWS = Path(__file__).parent / "flows"
TIMEOUT_S = 20


def run(*args: str, cwd: Path, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `penstock ARGS…` to its end."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    return subprocess.run(
        [sys.executable, "-m", "penstock", *args],
        cwd=cwd, input=stdin, env=clean | (env or {}), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def refused(*args: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a command that must not succeed says."""
    done = run(*args, cwd=cwd, env=env)
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_new_flow_can_be_served_and_called_at_once(tmp_path: Path) -> None:
    made = run("init", "greeter", cwd=tmp_path)
    assert "penstock serve greeter" in made.stdout
    free = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with penstock("serve", "greeter", *free, folder=tmp_path / "run", cwd=tmp_path) as service:
        call = ("--target", service.grpc, "--token", service.token)
        whole = run("invoke", *call, cwd=tmp_path, stdin='{"question": "hello there"}')
        assert json.loads(whole.stdout) == {"answer": "You said: hello there"}
        streamed = run("invoke", "greeter", "--stream", "--input", "question=hello there", *call, cwd=tmp_path)
        assert streamed.stdout == "You said: hello there\n"
        said = service.stdout.read_text()
        assert f"{service.http}/" in said
        assert service.grpc in said
        assert f'curl {service.http}/ -H "Authorization: Bearer {service.token}"' in said


def test_a_made_token_is_shown_and_a_given_one_is_not(tmp_path: Path) -> None:
    free = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with penstock("serve", "lifecycle:echo", *free, "--token", TOKEN, folder=tmp_path, cwd=FLOWS) as service:
        assert TOKEN not in service.stdout.read_text()


def test_invoke_tells_the_service_s_error(tmp_path: Path) -> None:
    with penstock(
        "server", "lifecycle:echo", "--grpc", "127.0.0.1:0", "--token", TOKEN, folder=tmp_path, cwd=FLOWS
    ) as server:
        done = run("invoke", "nope", "--target", server.grpc, "--token", TOKEN, cwd=tmp_path, stdin="{}")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: NOT_FOUND (FLOW_NOT_FOUND): there is no flow 'nope'")


def test_invoke_says_when_nothing_answers(tmp_path: Path) -> None:
    done = run("invoke", "--target", "127.0.0.1:1", cwd=tmp_path, stdin="{}")
    assert done.returncode == 1
    assert "Is a service running at 127.0.0.1:1?" in done.stderr


@pytest.mark.parametrize(
    ("stdin", "complaint"),
    [("", "standard input is not JSON"), ("[1]", "is not a JSON object"), ('{"n": 1e400}', "not a JSON number")],
)
def test_invoke_refuses_inputs_that_cannot_be_sent(tmp_path: Path, stdin: str, complaint: str) -> None:
    done = run("invoke", cwd=tmp_path, stdin=stdin)
    assert done.returncode == 2
    assert complaint in done.stderr


@pytest.mark.parametrize("command", ["serve", "server"])
def test_a_service_without_tokens_listens_on_loopback_only(tmp_path: Path, command: str) -> None:
    said = refused(command, "lifecycle:echo", "--no-auth", "--grpc", "0.0.0.0:0", cwd=FLOWS)
    assert "--no-auth lets every caller in, so it is accepted on loopback only" in said


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    def drain_complaint(*flags: str, env: dict[str, str] | None = None) -> str:
        return refused("serve", "lifecycle:echo", *flags, "--config", str(settings), cwd=FLOWS, env=env)

    settings = tmp_path / "settings.toml"
    settings.write_text("drain_s = -1\n")
    assert "it is -1" in drain_complaint()
    assert "it is '-2'" in drain_complaint(env={"PENSTOCK_DRAIN_S": "-2"})
    assert "it is '-3'" in drain_complaint("--drain-s", "-3", env={"PENSTOCK_DRAIN_S": "-2"})


def test_an_unknown_setting_in_the_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("drainn_s = 3\n")
    said = refused("server", "flow", cwd=tmp_path)
    assert "penstock.toml: there is no setting `drainn_s` for `server`; did you mean `drain_s`?" in said


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "penstock.toml").write_text("drain_s = \n")
    assert "penstock.toml: " in refused("server", "flow", cwd=tmp_path)


def test_the_file_of_tokens_is_read(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# ours\n\nfirst\nsecond\n")
    args = ("server", "lifecycle:echo", "--grpc", "127.0.0.1:0", "--tokens-file", str(tokens))
    with penstock(*args, folder=tmp_path, cwd=FLOWS) as server:
        for token, code in (("first", 0), ("second", 0), ("# ours", 1), ("third", 1)):
            assert run("invoke", "--target", server.grpc, "--token", token, cwd=tmp_path, stdin="{}").returncode == code


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("--grpc", "127.0.0.1:99999"), "--grpc (PENSTOCK_GRPC) should be HOST:PORT with a port up to 65535"),
        (("--grpc", "nonsense"), "--grpc (PENSTOCK_GRPC) should be HOST:PORT"),
        (("--http", "nonsense"), "--http (PENSTOCK_HTTP) should be HOST:PORT"),
        (("--token", "two words"), "a token holds something else than printable ASCII"),
        (("--tokens-file", "missing"), "the file of tokens cannot be read"),
        (("--config", "missing.toml"), "there is no file missing.toml"),
        (
            ("--sync-threads-max", "0"),
            "--sync-threads-max (PENSTOCK_SYNC_THREADS_MAX) should be greater than or equal to 1",
        ),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(args: tuple[str, ...], complaint: str) -> None:
    assert complaint in refused("serve", "lifecycle:echo", *args, cwd=FLOWS)


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("missing", "there is no such folder"),
        ("lifecycle:nope", "has no `nope`"),
        ("nomodule:flow", "no module `nomodule`"),
    ],
)
def test_a_flow_that_cannot_be_served_is_explained(target: str, complaint: str) -> None:
    assert complaint in refused("serve", target, cwd=FLOWS)


def test_a_folder_that_exists_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert "mine exists already" in refused("init", "mine", cwd=tmp_path)
    assert list((tmp_path / "mine").iterdir()) == []


def test_the_reference_page_lists_every_flag_of_serve(tmp_path: Path) -> None:
    page = run("config-reference", cwd=tmp_path).stdout
    usage = run("serve", "--help", cwd=tmp_path).stdout
    shown = set(re.findall(r"--[a-z-]+", usage))
    assert len(shown) > 30
    assert shown - {"--config", "--help", "--ready-file"} <= set(re.findall(r"--[a-z-]+", page))
