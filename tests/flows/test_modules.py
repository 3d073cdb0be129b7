"""The modules of a folder belong to its flow alone."""

import asyncio
import re
import sys

import pytest

from penstock_server.flows.loader import load_all


def dag(*names: str) -> str:
    listed = "".join(f"- {{name: {n}, type: python, source: {{type: code, path: {n}.py}}}}\n" for n in names)
    return f"outputs: {{o: {{reference: '${{{names[0]}}}'}}}}\nnodes:\n{listed}"


async def test_flows_with_modules_of_the_same_names_do_not_meet(write, run):
    for name in ("one", "two"):
        write(
            {
                "flow.dag.yaml": dag("a"),
                "a.py": """
                    from penstock.flow import tool
                    import helper
                    from package import inner
                    from package.inner import NAME
                    import package.deep.leaf
                    import importlib.util
                    from importlib import import_module, resources

                    @tool
                    def a():
                        import lazy
                        from package.lazy import NAME as lazy_name
                        names = [helper.NAME, inner.NAME, NAME, package.deep.leaf.NAME, lazy.NAME, lazy_name]
                        names += [importlib.import_module("lazy").NAME, import_module(".lazy", "package").NAME]
                        assert importlib.util.find_spec("json") and resources and import_module("json").dumps
                        return names + [lazy.helper.NAME, __import__("helper").NAME]
                    """,
                "helper.py": f"NAME = '{name}'",
                "lazy.py": f"import helper\nNAME = '{name}'",
                "package/__init__.py": "",
                "package/inner.py": "from helper import NAME\nfrom . import lazy\nfrom .lazy import NAME as _\n",
                "package/lazy.py": f"NAME = '{name}'",
                "package/deep/__init__.py": "",
                "package/deep/leaf.py": f"from ..lazy import NAME\nassert NAME == '{name}'",
            },
            name,
        )
    before = set(sys.modules)
    flows = load_all(["one", "two"])
    results = await asyncio.gather(*(run(flow) for flow in flows * 10))
    assert results == [{"o": ["one"] * 10}, {"o": ["two"] * 10}] * 10
    assert not {"helper", "lazy", "package", "a"} & set(sys.modules)
    for flow in flows:
        await flow.close()
    assert not {name for name in set(sys.modules) - before if "penstock_flow" in name}


async def test_tool_files_run_under_prompt_flows_name_and_know_where_they_are(load_folder, run, tmp_path):
    flow = load_folder(
        {
            "flow.dag.yaml": dag("a"),
            "a.py": """
                from penstock.flow import tool
                import helper
                seen = [__name__, __file__, helper.__file__]
                @tool
                def a():
                    return seen
                """,
            "helper.py": "",
        }
    )
    folder = tmp_path / "shop"
    assert await run(flow) == {"o": ["__pf_main__", str(folder / "a.py"), str(folder / "helper.py")]}


async def test_each_node_has_a_copy_of_its_file_and_all_share_what_they_import(load_folder, run, recorder):
    count = """
        from penstock.flow import tool
        import counter
        counter.value += 1
        @tool
        def run():
            return counter.value
        """
    flow = load_folder({"flow.dag.yaml": dag("a", "b"), "a.py": count, "b.py": count, "counter.py": "value = 0"})
    assert await run(flow, recorder) == {"o": 2}


async def test_annotations_that_are_text_can_be_resolved(load_folder, run):
    types = """
        from __future__ import annotations
        from dataclasses import dataclass
        from pydantic import BaseModel
        class Inner(BaseModel):
            x: int
        class Outer(BaseModel):
            inner: Inner
        @dataclass
        class Data:
            inner: Inner
        """
    flow = load_folder(
        {
            "flow.dag.yaml": dag("a"),
            "helper.py": types,
            "a.py": types
            + """
        from penstock.flow import tool
        import helper, pickle
        @tool
        def a() -> Data:
            Outer(inner={"x": 1})
            helper.Outer(inner={"x": 1})
            assert pickle.loads(pickle.dumps(helper.Inner(x=1))) == helper.Inner(x=1)
            return Data(inner=Inner(x=1))
        """,
        }
    )
    assert flow.spec.output_schema["properties"]["o"]["properties"]["inner"]["properties"]["x"] == {"type": "integer"}
    assert await run(flow) == {"o": {"inner": {"x": 1}}}


async def test_a_module_of_the_folder_goes_before_an_installed_one(load_folder, run):
    flow = load_folder(
        {
            "flow.dag.yaml": dag("a"),
            "a.py": """
                from penstock.flow import tool
                import statistics, yaml
                @tool
                def a(): return [statistics.X, yaml.X]
                """,
            "statistics.py": "X = 1",
            "yaml.py": "X = 2",
        }
    )
    assert await run(flow) == {"o": [1, 2]}
    import statistics

    assert statistics.mean([1]) == 1


async def test_a_folder_without_init_goes_after_an_installed_package(load_folder, run):
    flow = load_folder(
        {
            "flow.dag.yaml": dag("a"),
            "a.py": """
                from penstock.flow import tool
                import yaml
                import data.table as table
                @tool
                def a(): return [hasattr(yaml, "safe_load"), table.X]
                """,
            "yaml/prompt.txt": "",
            "data/table.py": "X = 1",
        }
    )
    assert await run(flow) == {"o": [True, 1]}


def test_a_failed_load_leaves_nothing_behind(write):
    write({"flow.dag.yaml": dag("a"), "a.py": "import helper\nraise ValueError", "helper.py": ""})
    before = (set(sys.modules), len(sys.meta_path))
    with pytest.raises(Exception, match=re.escape("ValueError")):
        load_all(["shop"])
    assert (set(sys.modules), len(sys.meta_path)) == before
