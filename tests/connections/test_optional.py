"""Flows work with an optional connection, and without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.flows.conftest import ListRecorder

from penstock_server.errors import FlowFailed
from penstock_server.flows.connections import check
from penstock_server.flows.connections.connections import load
from penstock_server.flows.flow import Flow
from penstock_server.flows.loader import load as load_flow
from penstock_server.flows.problems import FlowLoadError, ProblemFound
from penstock_server.store.sql.databases.probe import probe

FLOW = """\
inputs: {ask: {type: bool}}
outputs:
  address: {reference: "${look}"}
  answer: {reference: "${answer}"}
nodes:
- {name: look, type: python, source: {type: code, path: look.py}, inputs: {connection: model}}
- name: answer
  type: llm
  source: {type: code, path: answer.jinja2}
  inputs: {model: echo}
  connection: model
  activate: {when: "${inputs.ask}", is: true}
"""
LOOK = """\
from penstock.connections import OpenAIConnection
from penstock.flow import tool
@tool
def look(connection: OpenAIConnection | None):
    return connection.base_url if connection else "none"
"""
OPTIONAL = "model: {type: open_ai, optional: true, api_key: '${env:OPTIONAL_KEY}', base_url: '${env:OPTIONAL_URL:-}'}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {"flow.dag.yaml": FLOW, "look.py": LOOK, "answer.jinja2": "user:\nHello\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "connections.yaml").write_text(OPTIONAL)
    return tmp_path


async def run(flow: Flow, **inputs: object) -> dict[str, object]:
    try:
        return await flow.execute(await flow.arguments(inputs), ListRecorder())
    finally:
        await flow.close()


async def test_without_its_values_a_tool_gets_none_and_a_model_s_node_is_loaded(folder: Path) -> None:
    assert await run(load_flow(str(folder)), ask=False) == {"address": "none", "answer": None}


async def test_a_model_s_node_that_runs_all_the_same_says_what_to_do(folder: Path) -> None:
    with pytest.raises(FlowFailed, match="the connection `model` is optional, and not set; set its values, or let"):
        await run(load_flow(str(folder)), ask=True)


async def test_with_its_values_it_is_like_any_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIONAL_KEY", "not-to-be-shown")
    monkeypatch.setenv("OPTIONAL_URL", "http://127.0.0.1:1/v1")
    assert (await run(load_flow(str(folder)), ask=False))["address"] == "http://127.0.0.1:1/v1"


def test_what_is_wrong_is_told_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIONAL_KEY", "not-to-be-shown")
    monkeypatch.setenv("OPTIONAL_URL", "nowhere")
    with pytest.raises(FlowLoadError, match="`base_url` must be an address"):
        load_flow(str(folder))
    (folder / "connections.yaml").write_text("model: {type: open_ai, optional: maybe}")
    with pytest.raises(FlowLoadError, match="`optional` must be true or false"):
        load_flow(str(folder))


def test_a_connection_that_is_not_optional_is_needed(folder: Path) -> None:
    (folder / "connections.yaml").write_text(OPTIONAL.replace("optional: true", "optional: false"))
    with pytest.raises(FlowLoadError, match="OPTIONAL_KEY, which is not set"):
        load_flow(str(folder))


async def test_it_is_told_by_the_check_and_to_who_cannot_do_without(folder: Path, try_one: Callable[..., Any]) -> None:
    connections = load(folder, environ={})
    assert connections.find("model") is None
    with pytest.raises(ProblemFound, match="OPTIONAL_KEY, which is not set"):
        connections.get("model")
    (finding,) = await check.check(connections, ["model"], probe_database=probe)
    assert (finding.ok, finding.text) == (True, "optional, and not set")
