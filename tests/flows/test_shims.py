"""Flow code written for other frameworks finds its decorators."""

import importlib.util
import subprocess
import sys

import pytest

IMPORTS = [
    "from promptflow.core import tool",
    "from promptflow import tool",
    "from promptflow.core import tool, ToolProvider\nfrom promptflow.tracing import trace, start_trace\nstart_trace()",
    "from langstudio.core import tool, trace",
    "import promptflow.core\ntool = promptflow.core.tool",
]


@pytest.mark.parametrize("line", IMPORTS)
@pytest.mark.parametrize("decorator", ["@tool", "@tool()", "@tool(name='x')"])
async def test_tools_work(line, decorator, load_folder, run):
    flow = load_folder(
        {
            "flow.dag.yaml": "outputs: {o: {reference: '${a}'}}\nnodes:\n"
            "- {name: a, type: python, source: {type: code, path: a.py}}\n",
            "a.py": f"{line}\n{decorator}\nasync def a() -> str:\n    return 'x'\n",
        }
    )
    assert await run(flow) == {"o": "x"}


async def test_traced_functions_of_every_kind_stay_what_they_are(load_folder, run):
    flow = load_folder(
        {
            "flow.flex.yaml": "entry: main:flow\n",
            "main.py": """
                from promptflow.tracing import trace
                @trace
                def plain(): return "a"
                @trace()
                async def asynchronous(): return plain()
                @trace(name="x")
                async def flow():
                    yield await asynchronous()
                """,
        }
    )
    assert flow.spec.streaming_outputs == ("output",)
    assert await run(flow) == {"output": "a"}


def test_an_installed_package_goes_first(tmp_path):
    if importlib.util.find_spec("promptflow.core").origin is None:  # type: ignore[union-attr]
        pytest.skip("promptflow is installed here")
    (tmp_path / "promptflow").mkdir()
    (tmp_path / "promptflow" / "__init__.py").write_text("REAL = True\n")
    code = (
        "from penstock_server.flows import shims; shims.install(); shims.install()\n"
        "import promptflow, promptflow.tracing, sys\n"
        "print(promptflow.REAL, callable(promptflow.tracing.trace))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_a_name_that_we_do_not_have_is_said_so(write):
    from penstock_server.flows.loader import load
    from penstock_server.flows.problems import FlowLoadError

    write({"flow.flex.yaml": "entry: main:flow\n", "main.py": "from promptflow.core import Flow\n"})
    with pytest.raises(FlowLoadError, match="cannot import name 'Flow' from"):
        load("shop")
