"""The commands do what their help says, and answer mistakes with what to do."""

import json
import re
from pathlib import Path

import pytest
from tests.cli.shell import FLOWS, refused, run
from tests.service import TOKEN, penstock

from penstock.cli import COMMANDS


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


def test_every_command_says_in_full_what_it_does(tmp_path: Path) -> None:
    listed = run("--help", cwd=tmp_path).stdout.partition("Commands:")[2].split("\n")
    assert len([line for line in listed if line.rstrip().endswith(".")]) == len(COMMANDS)
    assert not [line for line in listed if line.endswith("...")]


def test_a_service_is_told_by_its_flows_and_its_name(tmp_path: Path) -> None:
    free = ("--grpc", "127.0.0.1:0")
    with penstock("server", "lifecycle:echo", *free, folder=tmp_path / "one", cwd=FLOWS) as service:
        assert service.stdout.read_text().startswith("Penstock serves echo\n")
    both = ("lifecycle:echo", "lifecycle:waits")
    with penstock("server", *both, *free, "--service", "support", folder=tmp_path / "two", cwd=FLOWS) as service:
        assert service.stdout.read_text().startswith("Penstock serves echo, waits as support\n")


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
    [
        ("", "standard input is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"n": 1e400}', "not a JSON number"),
        ('{"n": ' + 40 * "[" + 40 * "]" + "}", "nests more than 32 deep"),
        ('{"n": ' + 100_000 * "[" + 100_000 * "]" + "}", "nests more than 32 deep"),
    ],
)
def test_invoke_refuses_inputs_that_cannot_be_sent(tmp_path: Path, stdin: str, complaint: str) -> None:
    assert complaint in refused("invoke", cwd=tmp_path, stdin=stdin)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--user", "ü"), ("--session", "s" * 40 + "\n"), ("--token", "two\nlines"), ("--user", "\udcff")],
)
def test_invoke_names_the_option_that_no_header_can_carry(tmp_path: Path, option: str, value: str) -> None:
    said = refused("invoke", option, value, cwd=tmp_path, stdin="{}")
    assert f"{option}: holds something else than printable ASCII" in said


def test_invoke_refuses_a_flow_s_name_that_is_no_text(tmp_path: Path) -> None:
    assert "flow: holds a lone surrogate" in refused("invoke", "\udcff", cwd=tmp_path, stdin="{}")


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
