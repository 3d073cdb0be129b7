"""What STYLE the repository keeps, as far as a machine can tell."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

LINES_MAX = 400
FUNCTION_LINES_MAX = 60

LONG_FILES: dict[str, str] = {}
"""Files over `LINES_MAX` lines, each with the sentence that defends it."""

LONG_FUNCTIONS: dict[str, str] = {}
"""Functions over `FUNCTION_LINES_MAX` lines, as `file:name`, each with the sentence that defends it."""

NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}

FORBIDDEN = {
    "an issue's number instead of its substance": re.compile(r"\b(?:[Ii]ssue|[Tt]icket|[Tt]ask) ?#?\d+\b|\(#\d+\)"),
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)/"),
    "the address of a download": re.compile(r"https?://\S+\.(?:whl|tar\.gz|tgz|zip)\b|--?(?:extra-)?index-url\b"),
    "a package registry's host": re.compile(r"pypi\.org|pythonhosted\.org|proxy\.golang\.org|registry\.npmjs\.org"),
    "work left for later": re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b"),
}


def tracked() -> list[str]:
    """The files of the repository, and those that would be added to it, without generated ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    names = result.stdout.splitlines() if result.returncode == 0 else _walked()
    return sorted(name for name in names if "_pb2" not in name and (REPOSITORY / name).is_file())


def _walked() -> list[str]:
    """The same for a copy without its history."""
    skipped = re.compile(r"(?:^|/)(?:\.git|\.venv|\.tools|\.[a-z]+_cache|__pycache__|node_modules)(?:/|$)")
    names = (str(path.relative_to(REPOSITORY)) for path in REPOSITORY.rglob("*") if path.is_file())
    return [name for name in names if not skipped.search(name)]


PYTHON = [name for name in tracked() if name.endswith(".py")]


def test_a_file_is_short_enough_for_one_head() -> None:
    long = {name: len((REPOSITORY / name).read_bytes().splitlines()) for name in PYTHON}
    assert {name: lines for name, lines in long.items() if lines > LINES_MAX and name not in LONG_FILES} == {}


def test_a_function_is_short_enough_for_one_look() -> None:
    long = {f"{name}:{function}": lines for name in PYTHON for function, lines in _function_lengths(name)}
    found = {name: lines for name, lines in long.items() if lines > FUNCTION_LINES_MAX and name not in LONG_FUNCTIONS}
    assert found == {}


def test_a_file_is_named_for_what_it_holds() -> None:
    assert [name for name in tracked() if NAMES_THAT_SAY_NOTHING & {Path(name).stem, *Path(name).parent.parts}] == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_repository_does_not_hold(what: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in tracked()
        if name != str(Path(__file__).relative_to(REPOSITORY))
        for number, line in enumerate(_lines(name), start=1)
        if FORBIDDEN[what].search(line)
    ]
    assert found == []


def test_versions_are_pinned_and_nothing_else_is_said() -> None:
    for file in REPOSITORY.glob("constraints*.txt"):
        for line in file.read_text().splitlines():
            assert re.fullmatch(r"#.*|[\w.-]+==[\w.+!-]+", line), f"{file.name}: {line}"


def _lines(name: str) -> list[str]:
    try:
        return (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []


def _function_lengths(name: str) -> list[tuple[str, int]]:
    """Functions with the number of their lines, docstrings apart."""
    tree = ast.parse((REPOSITORY / name).read_bytes(), filename=name)
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [(node.name, _length(node)) for node in functions]


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    assert node.end_lineno is not None
    return node.end_lineno - first.lineno + 1
