"""What is found wrong with flows before they are served, and where."""

import re

import pytest

from penstock_server.flows.loader import load, load_all
from penstock_server.flows.problems import FlowLoadError

TOOL = "from penstock.flow import tool\n@tool\ndef run(x='') -> str:\n    return x\n"


def problems(target: str, *others: str) -> list[str]:
    with pytest.raises(FlowLoadError) as caught:
        load_all([target, *others])
    assert str(caught.value).splitlines()[0] == str(caught.value.problems[0]).splitlines()[0]
    return [str(problem) for problem in caught.value.problems]


def dag(write, yaml: str, **files: str) -> list[str]:
    write({"flow.dag.yaml": yaml, "a.py": TOOL, "b.py": TOOL, **files})
    return problems("shop")


def nodes(*lines: str) -> str:
    return "inputs: {q: {type: string}}\noutputs: {}\nnodes:\n" + "".join(f"{line}\n" for line in lines)


def node(name: str, inputs: str = "{}", extra: str = "") -> str:
    return f"- {{name: {name}, type: python, source: {{type: code, path: {name}.py}}, inputs: {inputs}{extra}}}"


def place(yaml: str, marked: str) -> str:
    """The line and column, as problems give them, at which a part of a document begins."""
    before = yaml[: yaml.index(marked)]
    return f"shop/flow.dag.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def test_a_folder_that_is_missing_or_holds_no_flow(write):
    write({"x.txt": ""}, "empty")
    assert problems("nowhere") == ["nowhere: there is no such folder (a flow is a folder, or module:callable)"]
    assert problems("empty") == ["empty: the folder holds no flow.dag.yaml, no flow.flex.yaml and no *.prompty"]
    assert "name the flow's folder, `empty`" in problems("empty/x.txt")[0]


def test_a_folder_with_two_documents(write):
    write({"flow.dag.yaml": "nodes: []", "flow.flex.yaml": "entry: a:b"})
    assert "flow.dag.yaml and flow.flex.yaml" in problems("shop")[0]


def test_the_problems_of_all_targets_are_told_together(write):
    write({"flow.dag.yaml": nodes(node("a", "{x: '${b}', y: 1}")), "a.py": TOOL})
    found = problems("nowhere", "shop", "no_module:flow")
    assert len(found) == 4
    assert [line.split(":")[0] for line in found] == [
        "nowhere",
        "shop/flow.dag.yaml",
        "shop/flow.dag.yaml",
        "no_module",
    ]


def test_two_flows_with_one_id(write):
    write({"flow.dag.yaml": "nodes: []"}, "one/shop")
    write({"flow.dag.yaml": "nodes: []"}, "two/shop")
    assert problems("one/shop", "two/shop") == [
        "two/shop: another flow has the id `shop`, too (rename the folder or the callable: ids name flows in addresses)"
    ]


@pytest.mark.parametrize(
    ("yaml", "place", "text"),
    [
        (
            "inputs:\n  q: {type: string\nnodes: []\n",
            "3:6",
            "not YAML: while parsing a flow mapping that begins in line 2",
        ),
        ("nodes: []\n\tinputs: {}\n", "2:1", "not YAML"),
        ("a: b: c\n", "1:5", "not YAML"),
        ("nodes: !!python/object/apply:os.system ['x']\n", "1:8", "the tag .* is not supported"),
        ("nodes: []\nnodes: []\n", "2:1", "the key `nodes` is there twice"),
        ("- a\n- b\n", "1:1", "must be a mapping"),
        ("", "1:1", "must be a mapping"),
        ("nodes: 3\n", "1:8", "`nodes` must be a list"),
        ("inputs: [a]\nnodes: []\n", "1:9", "`inputs` must be a mapping"),
        ("nodes:\n- 5\n", "2:3", "must have a `name`"),
        ("nodes: []\noutputs:\n  o: {type: string}\n", "3:6", "output `o` has no `reference`"),
        ("nodes: []\ninputs:\n  i: {type: picture}\n", "3:13", "type `picture` is not supported"),
        (
            "nodes: []\ninputs:\n  i: {type: int, default: abc}\n",
            "3:27",
            "the default must be an integer, not a string",
        ),
    ],
)
def test_a_bad_document_is_placed_by_file_line_and_column(write, yaml, place, text):
    found = dag(write, yaml)[0]
    assert re.match(rf"shop/flow\.dag\.yaml:{place}: .*{text}", found), found


def test_bytes_that_are_no_text(write):
    folder = write({})
    folder.mkdir()
    (folder / "flow.dag.yaml").write_bytes(b"nodes: []\n# \xff\n")
    assert problems("shop") == ["shop/flow.dag.yaml:2:3: not YAML: it is not UTF-8"]
    (folder / "flow.dag.yaml").write_bytes(b"nodes: []\n# \x00\n")
    assert problems("shop") == ["shop/flow.dag.yaml:2:3: not YAML: it holds a control character"]


def test_documents_that_are_meant_to_hurt(write):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    assert "more than 20000 values" in dag(write, bomb)[0]
    merges = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)
    )
    assert "more than 20000 values" in dag(write, merges)[0]
    assert "refers to itself" in dag(write, "a: &a [*a]\n")[0]
    assert "deep" in dag(write, "a: " + "[" * 5000)[0]
    assert "larger than" in dag(write, "#" * (512 * 1024 + 1))[0]


def test_a_cycle_is_named(write):
    found = dag(write, nodes(node("a", "{x: '${b.output}'}"), node("b", "{x: '${a.output}'}")))
    assert found == ["shop/flow.dag.yaml:4:3: the nodes need each other in a circle: a → b → a"]


def test_longer_and_separate_cycles_are_each_named_once(write):
    files = {f"{name}.py": TOOL for name in "cde"}
    yaml = nodes(
        node("a", "{x: '${c}'}"),
        node("b", "{x: '${a}'}"),
        node("c", "{x: '${b}'}"),
        node("d", "{x: '${d}'}"),
        node("e", "{x: '${c}'}"),
    )
    found = dag(write, yaml, **files)
    assert [line.partition("circle: ")[2] for line in found] == ["a → b → c → a", "d → d"]


def test_unknown_references_suggest_what_exists(write):
    yaml = nodes(node("a", "{x: '${inputs.qq}'}"), node("b", "{x: '${aa.output}'}"))
    yaml = yaml.replace("outputs: {}", "outputs: {o: {reference: '${bb}'}}")
    first, second, third = (place(yaml, repr(text)) for text in ("${inputs.qq}", "${aa.output}", "${bb}"))
    assert dag(write, yaml) == [
        f"{first}: node `a`, input `x`: ${{inputs.qq}}: the flow has no input `qq` (did you mean `q`?)",
        f"{second}: node `b`, input `x`: ${{aa.output}}: there is no node `aa` (did you mean `a`?)",
        f"{third}: output `o`: ${{bb}}: there is no node `bb` (did you mean `b`?)",
    ]


@pytest.mark.parametrize("reference", ["${}", "${inputs}", "${a.result}", "${a.output[x]}", "${.a}"])
def test_references_that_make_no_sense(write, reference):
    found = dag(write, nodes(node("a"), node("b", f"{{x: '{reference}'}}")))
    assert len(found) == 1
    assert re.search(rf"node `b`, input `x`: `?{re.escape(reference)}", found[0])


def test_a_node_that_is_there_twice(write):
    assert dag(write, nodes(node("a"), node("a"))) == [
        "shop/flow.dag.yaml:5:10: node `a` is there twice, first in line 4"
    ]


def test_nodes_that_cannot_be_named(write):
    assert "could not name it" in dag(write, nodes(node("inputs")), **{"inputs.py": TOOL})[0]


def test_a_source_that_is_missing_or_elsewhere(write, tmp_path):
    (tmp_path / "outside.py").write_text(TOOL)
    assert dag(write, nodes(node("gone"))) == [
        f"{place(nodes(node('gone')), 'gone.py')}: node `gone`: there is no file `gone.py`"
    ]
    outside = "- {name: a, type: python, source: {type: code, path: ../outside.py}}"
    assert "outside the flow's folder" in dag(write, nodes(outside))[0]
    assert "needs a `source`" in dag(write, nodes("- {name: a, type: python}"))[0]
    package = "- {name: a, type: python, source: {type: package, tool: x.y}}"
    assert "there is no tool `x.y`" in dag(write, nodes(package))[0]
    assert "needs a `source` with a `tool`" in dag(write, nodes(package.replace(", tool: x.y", "")))[0]
    other = "- {name: a, type: python, source: {type: git, path: a.py}}"
    assert "there is no source type `git`" in dag(write, nodes(other))[0]


def test_a_file_that_raises_shows_the_users_traceback_alone(write):
    found = dag(
        write, nodes(node("a")), **{"a.py": "import helper\n", "helper.py": "def f():\n    return 1 / 0\nf()\n"}
    )
    assert found[0].startswith(
        f"{place(nodes(node('a')), 'a.py')}: node `a`: a.py raised ZeroDivisionError: division by zero\n"
    )
    files = re.findall(r'File "([^"]+)", line (\d+)', found[0])
    assert [(name.rpartition("/")[2], line) for name, line in files] == [
        ("a.py", "1"),
        ("helper.py", "3"),
        ("helper.py", "2"),
    ]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def broken(:\n", "raised SyntaxError"),
        ("import not_there\n", "raised ModuleNotFoundError: No module named 'not_there'"),
        ("raise SystemExit(3)\n", "raised SystemExit: 3"),
        ("def run(): pass\n", "has no function with @tool"),
        (TOOL + TOOL.replace("run", "other"), "has 2 functions with @tool: run, other"),
    ],
)
def test_a_tool_file_that_cannot_serve(write, source, text):
    assert f"node `a`: a.py {text}" in dag(write, nodes(node("a")), **{"a.py": source})[0]


def test_inputs_must_fit_the_function(write):
    files = {"a.py": "from penstock.flow import tool\n@tool\ndef run(question, k=1): pass\n"}
    yaml = nodes(node("a", "{questoin: 123}"))
    assert dag(write, yaml, **files) == [
        f"{place(yaml, '123')}: node `a`: its function has no parameter `questoin` (did you mean `question`?)",
        "shop/flow.dag.yaml:4:3: node `a`: its function needs the input `question`",
    ]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("pyton", "is of an unknown type, `pyton` (did you mean `python`?)"),
        ("''", "has no `type`"),
    ],
)
def test_node_types_that_we_do_not_have(write, kind, text):
    found = dag(write, nodes(f"- {{name: a, type: {kind}}}"))
    assert len(found) == 1
    assert re.match(r"shop/flow\.dag\.yaml:4:19: node `a` ", found[0])
    assert text in found[0]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("skip: {when: x}", "`skip` is not supported (`activate` says when a node runs)"),
        ("actvate: {}", "node `a` has no `actvate` (did you mean `activate`?)"),
        ("activate: {when: x}", "`activate` needs `when` and `is`"),
        ("activate: {when: '${inputs.gone}', is: x}", "`activate`: ${inputs.gone}: the flow has no input `gone`"),
        ("activate: x", "`activate` needs `when` and `is`"),
        ("aggregation: 1", "node `a`: `aggregation` must be true or false"),
        ("use_variants: true", "uses variants, and `node_variants` has none for it"),
        ("timeout_s: 0", "`timeout_s` must be between 0.001 and 86400 seconds"),
        ("timeout_s: .nan", "`timeout_s` must be a number of seconds"),
        ("timeout_s: fast", "`timeout_s` must be a number of seconds"),
        ("retry: 3", "`retry` must be a mapping (retry: {attempts: 3})"),
        ("retry: {}", "`retry` needs `attempts`"),
        ("retry: {attempts: 0}", "`attempts` must be a whole number from 1 to 20"),
        ("retry: {attempts: 2, on: []}", "`on` must be a list of the names of exceptions"),
        ("retry: {attempts: 2, backof_s: 1}", "`retry` has no `backof_s` (did you mean `backoff_s`?)"),
    ],
)
def test_keys_of_nodes_that_make_no_sense(write, key, text):
    found = dag(write, nodes(node("a", extra=f", {key}")))
    assert len(found) == 1
    assert re.match(r"shop/flow\.dag\.yaml:4:\d+: ", found[0])
    assert text in found[0]


@pytest.mark.parametrize(
    ("yaml", "text"),
    [
        ("nodes: []\ninptus: {}\n", "2:9: the document has no `inptus` (did you mean `inputs`?)"),
        ("nodes: []\ninputs: {q: {tpye: int}}\n", "2:20: input `q` has no `tpye` (did you mean `type`?)"),
        ("nodes: []\noutputs: {q: {refernce: x}}\n", "output `q` has no `refernce` (did you mean `reference`?)"),
        ("nodes: []\nadditional_includes: x\n", "`additional_includes` must be a list of paths"),
        ("nodes: []\nadditional_includes: [../gone]\n", "2:23: `additional_includes`: there is no file or folder"),
        ("nodes: []\nenvironment_variables: [x]\n", "`environment_variables` must be a mapping"),
        ("nodes: []\nenvironment_variables: {A_B: '${gone.key}'}\n", "`A_B`: there is no connection `gone`"),
        ("nodes: []\nenvironment_variables: {'A=B': x}\n", "environment variable `A=B`: cannot be set"),
        ("nodes: []\nnode_variants: []\n", "`node_variants` must be a mapping"),
        ("nodes: []\noutputs: {o: {reference: ''}}\n", "output `o` has no `reference`"),
    ],
)
def test_keys_of_the_document_that_make_no_sense(write, yaml, text):
    assert any(text in found for found in dag(write, yaml))


def test_keys_of_the_authors_own_are_left_alone(write):
    write({"flow.dag.yaml": "x-owner: me\nnodes:\n" + node("a", extra=", x-position: {x: 1}"), "a.py": TOOL})
    assert load("shop").spec.flow == "shop"


def test_what_prompt_flow_knows_and_changes_no_result_is_ignored(write):
    write(
        {
            "flow.dag.yaml": """
                $schema: https://example.org/Flow.schema.json
                display_name: Shop
                environment: {python_requirements_txt: requirements.txt}
                environment_variables: {PENSTOCK_TEST_A: b}
                node_variants: {a: {default_variant_id: v, variants: {}}}
                additional_includes: []
                language: python
                inputs: {q: {type: string, is_chat_input: false}}
                nodes:
                - {name: a, type: python, source: {type: code, path: a.py}, use_variants: false, aggregation: false}
                """,
            "a.py": TOOL,
        }
    )
    assert load("shop").spec.flow == "shop"


def test_a_template_that_is_none_is_placed_in_its_file(write):
    prompt = "- {name: p, type: prompt, source: {type: code, path: p.jinja2}}"
    found = dag(write, nodes(prompt), **{"p.jinja2": "fine\n{% for x in %}\n"})
    assert len(found) == 1
    assert found[0].startswith("shop/p.jinja2:2: node `p`: not a Jinja2 template: ")


def test_callables_that_cannot_be_found(write, tmp_path, monkeypatch):
    write(
        {"loader_module.py": "import os\nclass Shop:\n    def __init__(self, city): pass\nx = 3\ndef flow(): pass\n"},
        ".",
    )
    write({"loader_broken.py": "def f():\n    raise KeyError('k')\nf()\n"}, ".")
    monkeypatch.syspath_prepend(tmp_path)
    assert problems("loader_gone:flow") == ["loader_gone:flow: there is no module `loader_gone`"]
    assert problems("loader_module:flw") == ["loader_module:flw: `loader_module` has no `flw` (did you mean `flow`?)"]
    assert problems("loader_module:x") == ["loader_module:x: `x` is a int, which cannot be called"]
    broken = problems("loader_broken:f")[0]
    assert broken.startswith("loader_broken:f: `loader_broken` raised KeyError: 'k'\n")
    assert broken.count("File ") == 2
    found = problems("loader_module:Shop")[0]
    assert "`Shop` raised TypeError" in found
    assert "flow.flex.yaml can give them" in found


async def test_callables_may_be_nested_and_lie_in_the_current_folder(write, run):
    write(
        {
            "loader_nested/__init__.py": "",
            "loader_nested/flows.py": """
                class Shop:
                    def find(self, item: str) -> str:
                        return f"found {item}"
                    def __call__(self, item: str) -> str:
                        return f"called {item}"
                shop = Shop()
                """,
        },
        ".",
    )
    nested, made = load_all(["loader_nested.flows:shop.find", "loader_nested.flows:Shop"])
    assert (nested.spec.flow, made.spec.flow) == ("find", "Shop")
    assert await run(nested, item="x") == {"output": "found x"}
    assert await run(made, item="x") == {"output": "called x"}
    await nested.close()
    assert await run(made, item="x") == {"output": "called x"}, "flows share threads, and close apart"
    await made.close()


async def test_a_folder_is_named_as_the_target_names_it(write, tmp_path, run):
    write({"flow.dag.yaml": nodes(node("a")).replace("q: {type: string}", ""), "real.py": TOOL}, "releases/v1")
    (tmp_path / "releases/v1/a.py").symlink_to("real.py")
    (tmp_path / "current").symlink_to("releases/v1")
    for target in ("current", "./current/", str(tmp_path / "current")):
        flow = load(target)
        assert flow.spec.flow == "current"
        assert await run(flow) == {}
        await flow.close()
