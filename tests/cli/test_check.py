"""`penstock check` and `penstock graph`: what they find in folders, without serving them."""

import json
from pathlib import Path
from textwrap import dedent

import pytest
from tests.cli.shell import refused, run

TOOL = "from penstock.flow import tool\n@tool\ndef run(question='') -> str:\n    return question\n"
WRONG = """\
inputs:
  question: {type: strin}
outputs:
  answer: {reference: '${anser}'}
nodes:
- name: fetch_docs
  type: python
  source: {type: code, path: docs.py}
  inputs: {question: '${inputs.qestion}'}
- name: answer
  type: pyton
  source: {type: code, path: docs.py}
  inputs: {question: '${fetch_doc.output}'}
- name: broken
  type: python
  source: {type: code, path: broken.py}
"""
GOOD = """\
inputs:
  question: {type: string}
outputs:
  answer: {reference: '${answer}'}
nodes:
- name: is_hard
  type: python
  source: {type: code, path: tool.py}
  inputs: {question: '${inputs.question}'}
- name: answer
  type: python
  source: {type: code, path: tool.py}
  inputs: {question: '${inputs.question}'}
  activate: {when: '${is_hard}', is: "yes, \\"very\\""}
"""


def write(folder: Path, **files: str) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(dedent(text))


def test_every_problem_of_a_folder_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    write(tmp_path / "shop", flow__dag__yaml=WRONG, docs__py=TOOL, broken__py="import nothing_of_the_kind\n")
    done = run("check", "shop", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    lines = [line for line in done.stdout.splitlines() if line.startswith("shop/")]
    expected = {
        "shop/flow.dag.yaml:2:20: input `question`: the type `strin` ": "(did you mean `string`?)",
        "shop/flow.dag.yaml:4:23: output `answer`: ${anser}: ": "(did you mean `answer`?)",
        "shop/flow.dag.yaml:9:22: node `fetch_docs`, input `question`: ": "(did you mean `question`?)",
        "shop/flow.dag.yaml:11:9: node `answer` is of an unknown type": "(did you mean `python`?)",
        "shop/flow.dag.yaml:13:22: node `answer`, input `question`: ": "(did you mean `fetch_docs`?)",
        "shop/flow.dag.yaml:16:30: node `broken`: ": "No module named 'nothing_of_the_kind'",
    }
    for start, part in expected.items():
        assert [line for line in lines if line.startswith(start) and part in line], (start, done.stdout)
    assert len(lines) == len(expected)
    assert [line.partition(": ")[0] for line in lines] == [start.partition(": ")[0] for start in expected]
    assert done.stdout.endswith("\n6 problems\n")


def test_the_same_as_json(tmp_path: Path) -> None:
    write(tmp_path / "shop", flow__dag__yaml="nodes: []\noutputs: {a: {reference: '${inputs.b}'}}\n")
    done = run("check", "shop", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "problems": [
            {
                "file": "shop/flow.dag.yaml",
                "line": 2,
                "column": 26,
                "text": "output `a`: ${inputs.b}: the flow has no input `b`",
                "hint": "",
                "trace": "",
            }
        ]
    }


def test_problems_of_several_flows_come_together(tmp_path: Path) -> None:
    write(tmp_path / "shop", flow__dag__yaml="nodes: 5\n")
    done = run("check", "shop", "gone", "no_module:flow", cwd=tmp_path)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()[:3]] == [
        "shop/flow.dag.yaml",
        "gone",
        "no_module",
    ]


def test_a_good_flow_has_no_problems(tmp_path: Path) -> None:
    write(tmp_path / "shop", flow__dag__yaml=GOOD, tool__py=TOOL)
    done = run("check", "shop", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "shop: no problems\n", "")
    assert json.loads(run("check", "shop", "--json", cwd=tmp_path).stdout) == {"problems": []}


def test_code_that_a_flow_brings_cannot_end_the_check(tmp_path: Path) -> None:
    write(tmp_path / "shop", flow__dag__yaml=GOOD, tool__py="import sys\nprint('noise')\nsys.exit(0)\n")
    done = run("check", "shop", cwd=tmp_path)
    assert done.returncode == 1
    assert "SystemExit" in done.stdout
    assert "noise" not in done.stdout


def test_a_graph_is_drawn_without_importing_its_code(tmp_path: Path) -> None:
    write(tmp_path / "shop", flow__dag__yaml=GOOD, tool__py="1 / 0\n")
    done = run("graph", "shop", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == dedent("""\
        flowchart TD
            inputs(["inputs"])
            n1["is_hard<br/>python"]
            n2["answer<br/>python"]
            outputs(["outputs"])
            inputs -->|"question"| n1
            inputs -->|"question"| n2
            n1 -.->|"if yes, #34;very#34;"| n2
            n2 -->|"answer"| outputs
        """)


def test_a_flow_of_one_step_is_drawn_as_such(tmp_path: Path) -> None:
    write(tmp_path / "flex", flow__flex__yaml="entry: main:answer\n")
    assert 'n1["main:answer<br/>flex"]' in run("graph", "flex", cwd=tmp_path).stdout
    (tmp_path / "greet.prompty").write_text("broken")
    assert 'n1["greet<br/>prompty"]' in run("graph", "greet.prompty", cwd=tmp_path).stdout
    assert 'n1["mod:fn<br/>callable"]' in run("graph", "mod:fn", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("yaml", "said"),
    [("nodes: 5\n", "shop/flow.dag.yaml:1:8: `nodes` must be a list"), ("a: [", "not YAML"), ("", "must be a mapping")],
)
def test_a_graph_that_cannot_be_drawn_is_explained(yaml: str, said: str, tmp_path: Path) -> None:
    write(tmp_path / "shop", flow__dag__yaml=yaml)
    assert said in refused("graph", "shop", cwd=tmp_path)
    assert "there is no such folder" in refused("graph", "gone", cwd=tmp_path)
