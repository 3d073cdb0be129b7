"""What a flow's folder brings along: included files, requirements and environment variables."""

import gc
import logging
import os

import pytest

from penstock_server.flows.loader import load, load_all
from penstock_server.flows.problems import FlowLoadError

TOOL = "from penstock.flow import tool\n@tool\ndef a():\n    return {}\n"


def dag(extra=""):
    return (
        f"{extra}\noutputs: {{o: {{reference: '${{a}}'}}}}\n"
        "nodes: [{name: a, type: python, source: {type: code, path: a.py}}]\n"
    )


async def test_included_files_and_folders_count_as_files_of_the_folder(write, run):
    write(
        {"prices.py": "TEA = 4", "lib/deep/coffee.py": "PRICE = 7", "lib/__init__.py": "", "data/x.txt": "hello"},
        "common",
    )
    write(
        {
            "flow.dag.yaml": dag("additional_includes: [../common/prices.py, ../common/lib, ../common/data]"),
            "a.py": "from pathlib import Path\nimport prices\nfrom lib.deep import coffee\n"
            + TOOL.format("[prices.TEA, coffee.PRICE, (Path(__file__).resolve().parent / 'data/x.txt').read_text()]"),
        }
    )
    flow = load("shop")
    assert flow.spec.flow == "shop"
    assert await run(flow) == {"o": [4, 7, "hello"]}
    await flow.close()


async def test_an_included_file_may_be_a_nodes_own(write, run):
    write({"a.py": TOOL.format("'shared'")}, "common")
    write({"flow.dag.yaml": dag("additional_includes: [../common/a.py]")})
    flow = load("shop")
    before = flow.spec.snapshot
    assert await run(flow) == {"o": "shared"}
    await flow.close()
    write({"a.py": TOOL.format("'changed'")}, "common")
    flow = load("shop")
    assert flow.spec.snapshot != before, "what is included is part of the version"
    await flow.close()


async def test_a_folder_may_be_included_as_an_archive(write, run):
    write({"one.txt": "1"}, "common")
    code = "from pathlib import Path\nimport zipfile\n" + TOOL.format(
        "zipfile.ZipFile(Path(__file__).parent / 'common.zip').read('common/one.txt').decode()"
    )
    write({"flow.dag.yaml": dag("additional_includes: [../common.zip]"), "a.py": code})
    flow = load("shop")
    assert await run(flow) == {"o": "1"}
    await flow.close()


async def test_nothing_is_left_of_what_was_included(write, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    write({"a.py": TOOL.format("1")}, "common")
    write({"flow.dag.yaml": dag("additional_includes: [../common/a.py]")})
    flow = load("shop")
    assert list(temporary.iterdir())
    await flow.close()
    assert not list(temporary.iterdir())
    write({"flow.dag.yaml": dag("additional_includes: [../common/gone.py, ../common/a.py]")})
    with pytest.raises(FlowLoadError, match=r"flow.dag.yaml:1:23: `additional_includes`: there is no file or folder"):
        load("shop")
    assert not list(temporary.iterdir())


async def test_missing_requirements_are_named_at_start(write, caplog):
    requirements = """
        # what it needs
        pytest>=1.0   # here
        no-such-package==1.2.3
        pytest>999
        promptflow[azure]
        langstudio
        no-such-either; python_version < "3"
        -r more.txt
        --no-binary :all:
        git+https://example.org/x.git
        """
    write({"flow.dag.yaml": dag(), "a.py": TOOL.format("1"), "requirements.txt": requirements})
    with caplog.at_level(logging.WARNING, "penstock.flows"):
        flow = load("shop")
    await flow.close()
    assert "not installed here: no-such-package==1.2.3, pytest>999 (pip install -r" in caplog.text


def test_an_import_that_fails_names_the_requirements(write):
    write({"flow.dag.yaml": dag(), "a.py": "import no_such_module", "requirements.txt": "no-such-package\n"})
    with pytest.raises(FlowLoadError) as caught:
        load("shop")
    text = str(caught.value)
    assert "a.py raised ModuleNotFoundError: No module named 'no_such_module'" in text
    assert "(requirements.txt asks for no-such-package: pip install -r requirements.txt)" in text


@pytest.fixture
def environ(monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return os.environ


READS = "import os\n" + TOOL.format("[seen, os.environ.get('SHOP_KEY')]") + "seen = os.environ.get('SHOP_KEY')\n"


async def test_environment_variables_are_set_before_the_code_is_executed(write, run):
    write({"flow.dag.yaml": dag("environment_variables: {SHOP_KEY: 5, SHOP_LIST: [1, a]}"), "a.py": READS})
    flow = load("shop")
    assert await run(flow) == {"o": ["5", "5"]}
    assert os.environ["SHOP_LIST"] == '[1, "a"]'
    await flow.close()
    assert "SHOP_KEY" not in os.environ


async def test_a_variable_may_be_a_value_of_a_connection(write, run):
    connections = "mine: {type: custom, configs: {address: x}, secrets: {key: s3cret}}\n"
    yaml = dag("environment_variables: {SHOP_KEY: '${mine.key}'}")
    write({"flow.dag.yaml": yaml, "a.py": READS, "connections.yaml": connections})
    flow = load("shop")
    assert await run(flow) == {"o": ["s3cret", "s3cret"]}
    await flow.close()
    write({"flow.dag.yaml": dag("environment_variables: {SHOP_KEY: '${mine.kye}'}")})
    with pytest.raises(FlowLoadError, match="connection `mine` has no `kye` \\(did you mean `key`\\?\\)"):
        load("shop")


async def test_what_the_operator_has_set_stays(write, run, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "operator")
    write({"flow.dag.yaml": dag("environment_variables: {SHOP_KEY: author}"), "a.py": READS})
    flow = load("shop")
    assert await run(flow) == {"o": ["operator", "operator"]}
    await flow.close()
    assert os.environ["SHOP_KEY"] == "operator"


async def test_two_flows_share_a_variable_only_where_they_agree(write):
    for name, value in (("one", "x"), ("two", "x"), ("three", "y")):
        write({"flow.dag.yaml": dag(f"environment_variables: {{SHOP_KEY: {value}}}"), "a.py": READS}, name)
    flows = load_all(["one", "two"])
    await flows[0].close()
    assert os.environ["SHOP_KEY"] == "x"
    await flows[1].close()
    assert "SHOP_KEY" not in os.environ
    with pytest.raises(FlowLoadError, match="`SHOP_KEY`: another flow has set it to another value") as caught:
        load_all(["one", "three"])
    del caught
    gc.collect()
    assert "SHOP_KEY" not in os.environ, "a start that fails leaves nothing behind"
