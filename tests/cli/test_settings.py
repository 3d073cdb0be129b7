"""Settings come from flags, the environment and a file; a mistake is told with its place and what to do."""

from pathlib import Path

import pytest
import requests
from tests.cli.shell import FLOWS, refused, run
from tests.service import penstock

from penstock_bridge.config import BridgeConfig

WAIT_S = 10.0


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
    assert "penstock.toml: there is no setting `drainn_s`; did you mean `drain_s`?" in said


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


def test_a_bridge_that_needs_no_token_listens_on_loopback_only(tmp_path: Path) -> None:
    said = refused("bridge", "--no-auth", "--http", "0.0.0.0:0", cwd=tmp_path)
    assert "--no-auth lets every caller in, so it is accepted on loopback only, and not on 0.0.0.0:0" in said


def test_a_bridge_on_loopback_may_need_no_token(tmp_path: Path) -> None:
    server = ("server", "lifecycle:echo", "--grpc", "127.0.0.1:0", "--no-auth")
    with penstock(*server, folder=tmp_path / "server", cwd=FLOWS) as behind:
        bridge = ("bridge", "--upstream", behind.grpc, "--http", "127.0.0.1:0", "--no-auth")
        with penstock(*bridge, folder=tmp_path / "bridge", cwd=tmp_path) as front:
            assert requests.post(front.http, json={}, timeout=WAIT_S).json() == {"output": "hi"}


@pytest.mark.parametrize("target", ["nonsense", "127.0.0.1:99999", "127.0.0.1:", "unix:", "dns:", "http://a b"])
def test_a_bridge_refuses_an_upstream_that_is_no_address(tmp_path: Path, target: str) -> None:
    said = refused("bridge", "--upstream", target, cwd=tmp_path)
    assert "--upstream (PENSTOCK_UPSTREAM) should be HOST:PORT with a port up to 65535, or unix:PATH" in said


@pytest.mark.parametrize(
    "target",
    [
        "10.0.0.1:50051",
        "[::1]:50051",
        "unix:run/penstock",
        "unix:///run/penstock",
        "dns:///a.example:1",
        "ipv4:1.2.3.4",
    ],
)
def test_a_bridge_takes_every_target_that_grpc_resolves(target: str) -> None:
    assert BridgeConfig.model_validate({"upstream": target}).upstream == target


def test_one_file_serves_every_command(tmp_path: Path) -> None:
    grpc = f"unix:{tmp_path}/socket"
    (tmp_path / "penstock.toml").write_text(
        f'http = "127.0.0.1:0"\ngrpc = "{grpc}"\nupstream = "{grpc}"\ntokens = "secret"\nflows = "echo:echo"\n'
        "drain_s = 5\nlinger_s = 1.5\nschema_public = true\nbody_bytes_max = 4194304\n"
    )
    (tmp_path / "echo.py").write_text((FLOWS / "lifecycle.py").read_text())
    token = {"Authorization": "Bearer secret"}
    with (
        penstock("server", folder=tmp_path / "server", cwd=tmp_path),
        penstock("bridge", folder=tmp_path / "bridge", cwd=tmp_path) as front,
    ):
        assert requests.post(front.http, json={}, headers=token, timeout=WAIT_S).json() == {"output": "hi"}
    with penstock("serve", folder=tmp_path / "serve", cwd=tmp_path) as both:
        assert requests.post(both.http, json={}, headers=token, timeout=WAIT_S).json() == {"output": "hi"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('drain_s = "soon"', "`drain_s` should be a valid number; it is 'soon'"),
        ("drain_s = true", "`drain_s` should be a valid number; it is True"),
        ("runs_max = 1.5", "`runs_max` should be a valid integer; it is 1.5"),
        ('auth = "no"', "`auth` should be a valid boolean; it is 'no'"),
        ("grpc = 50051", "`grpc` should be a valid string; it is 50051"),
        ("tokens = 5", "`tokens` should be a valid array; it is 5"),
        ('tokens = ["a", 5]', "`tokens` should be a valid string; it is ['a', 5]"),
        ("drain_s = 1979-05-27", "`drain_s` should be a valid number"),
        ('grpc = "nonsense"', "`grpc` should be HOST:PORT with a port up to 65535, or unix:PATH; it is 'nonsense'"),
        ("runs_max = 0", "`runs_max` should be greater than or equal to 1; it is 0"),
        ("[server]", "there is no setting `server`"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_the_file(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "penstock.toml").write_text(f"{line}\n")
    assert f"penstock.toml: {complaint}" in refused("server", "flow", cwd=tmp_path)
