"""Code may read a secret and put it anywhere; what is recorded, logged or told to callers does not have it."""

import json
import logging
import threading

import pytest

from penstock.secret import MASK, Secret, masked
from penstock_server.errors import FlowFailed, to_status

KEY = "s3cr3t-not-to-be-shown"

FILES = {
    "connections.yaml": f"search: {{type: custom, configs: {{address: 'http://x'}}, secrets: {{token: {KEY}}}}}\n",
    "flow.dag.yaml": """\
outputs: {}
nodes:
- {name: say, type: python, source: {type: code, path: say.py}, inputs: {connection: search}}
- {name: break, type: python, source: {type: code, path: fail.py}, inputs: {connection: search, said: "${say.output}"}}
""",
    "say.py": """\
from penstock.connections import CustomConnection
from penstock.flow import tool

@tool
def say(connection: CustomConnection):
    print("asking with", connection.token)
    return {"url": f"{connection.address}?key={connection.token}", "all": connection, "set": connection.secrets}
""",
    "fail.py": """\
from penstock.connections import CustomConnection
from penstock.flow import tool

@tool
def fail(connection: CustomConnection, said: dict):
    raise ConnectionError(f"nobody answers at {said['url']}")
""",
}


async def test_a_secret_in_what_code_does_is_masked(load_folder, run, recorder) -> None:
    with pytest.raises(FlowFailed) as raised:
        await run(load_folder(FILES), recorder)
    assert raised.value.message == f"node `break` raised ConnectionError: nobody answers at http://x?key={MASK}"
    assert KEY not in str(to_status(raised.value))
    said = recorder.records["say"]
    assert said.logs == f"asking with {MASK}\n"
    assert said.output["url"] == f"http://x?key={MASK}"
    shown = [(each.inputs, each.output, each.logs) for each in recorder.records.values()]
    assert KEY not in json.dumps(shown)


async def test_a_secret_in_an_exception_is_masked_in_the_log(load_folder, run) -> None:
    from penstock.cli.lifetime import _MaskingFormatter

    with pytest.raises(FlowFailed) as raised:
        await run(load_folder(FILES))
    cause = raised.value.__cause__
    assert cause is not None
    trace = (type(cause), cause, cause.__traceback__)
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "key %s", (KEY,), trace)
    text = _MaskingFormatter("%(message)s").format(record)
    assert f"key {MASK}" in text
    assert "fail.py" in text
    assert KEY not in text


def test_a_secret_that_holds_another_is_masked_whole() -> None:
    Secret("abcdef")
    Secret("abcdefghi")
    assert masked("abcdefghi, abcdef!") == f"{MASK}, {MASK}!"


def test_short_secrets_are_not_looked_for_in_texts() -> None:
    Secret("an")
    assert masked("an answer") == "an answer"


def test_secrets_may_be_made_in_many_threads() -> None:
    names = [f"thread-secret-{number}" for number in range(200)]
    threads = [threading.Thread(target=lambda: [Secret(name) for name in names]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert masked(" ".join(names)) == " ".join([MASK] * len(names))
