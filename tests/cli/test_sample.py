"""The command that `penstock serve` prints can be pasted as it is."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from tests.cli.shell import FLOWS, TIMEOUT_S
from tests.service import Service, penstock

ANSWERS = {
    "choices": "red",
    "numbers": "5",
    "texts": "it's $HOME",
    "models": "hello",
    "collections": "hello",
    "optional": "hi",
    "nothing": "done",
}
FREE = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")


def printed(service: Service) -> tuple[str, str]:
    """The line that invites to a call, and the command."""
    *_, invitation, _, command, _ = service.stdout.read_text().split("\n")[:-1]
    return invitation, command.strip()


def pasted(command: str) -> object:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("flow", ANSWERS)
def test_the_printed_command_calls_the_flow(tmp_path: Path, flow: str) -> None:
    with penstock("serve", f"sampled:{flow}", *FREE, folder=tmp_path, cwd=FLOWS) as service:
        invitation, command = printed(service)
        assert invitation == "Try it:"
        assert pasted(command) == {"output": ANSWERS[flow]}


@pytest.mark.parametrize(
    ("flow", "body"), [("pattern", '{"code": "...", "count": "..."}'), ("fussy", '{"value": "..."}')]
)
def test_inputs_that_cannot_be_made_up_are_left_to_the_user(tmp_path: Path, flow: str, body: str) -> None:
    with penstock("serve", f"sampled:{flow}", *FREE, folder=tmp_path, cwd=FLOWS) as service:
        invitation, command = printed(service)
        assert invitation == f"Try it, with inputs of {flow} for the dots:"
        assert command.endswith(f"-d '{body}'")


def test_an_author_s_sample_is_what_is_printed_and_shown_in_the_document(tmp_path: Path) -> None:
    folder = tmp_path / "clerk"
    folder.mkdir()
    (folder / "flow.flex.yaml").write_text("entry: clerk:greet\nsample: {inputs: {name: Ada, times: 2}}\n")
    (folder / "clerk.py").write_text("def greet(name: str, times: int = 1):\n    return name * times\n")
    with penstock("serve", "clerk", *FREE, folder=tmp_path / "run", cwd=tmp_path) as service:
        _, command = printed(service)
        assert pasted(command) == {"output": "AdaAda"}
        with urllib.request.urlopen(f"{service.http}/openapi.json", timeout=TIMEOUT_S) as answer:
            schemas = json.load(answer)["components"]["schemas"]
        assert schemas["clerk.inputs"]["examples"] == [{"name": "Ada", "times": 2}]
