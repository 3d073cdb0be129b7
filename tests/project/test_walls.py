"""Who may import whom. The walls of ARCHITECTURE.md, checked over every import in every file, inside functions too."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SERVER = REPOSITORY / "server/penstock_server"
BRIDGE = REPOSITORY / "bridge/penstock_bridge"
CLIENT = REPOSITORY / "clients/python/penstock"


def test_the_server_does_not_import_the_bridge() -> None:
    assert breaches(SERVER, forbidden="penstock_bridge") == []


def test_the_bridge_does_not_import_the_server() -> None:
    assert breaches(BRIDGE, forbidden="penstock_server") == []


def test_flows_runs_and_store_do_not_know_grpc() -> None:
    domain = [SERVER / name for name in ("flows", "runs", "store") if (SERVER / name).exists()]
    assert breaches(*domain, forbidden="grpc") == []


def test_sqlalchemy_is_imported_under_store_only() -> None:
    found = breaches(SERVER, BRIDGE, CLIENT, forbidden="sqlalchemy")
    assert [breach for breach in found if not breach.startswith("server/penstock_server/store/")] == []


def test_only_the_command_line_knows_server_and_bridge() -> None:
    found = breaches(CLIENT, forbidden="penstock_server") + breaches(CLIENT, forbidden="penstock_bridge")
    assert [breach for breach in found if not breach.startswith("clients/python/penstock/cli/")] == []


def test_the_command_line_loads_neither_before_a_command_needs_it() -> None:
    code = "import sys, penstock.cli; print([name for name in sys.modules if name.startswith('penstock_')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def breaches(*roots: Path, forbidden: str) -> list[str]:
    """Every import of the package `forbidden` under `roots`, as a sentence."""
    return [
        f"{file.relative_to(REPOSITORY)}:{line} imports {module}"
        for root in roots
        for file in _files(root)
        for line, module in _imports(file)
        if module.partition(".")[0] == forbidden
    ]


def _files(root: Path) -> list[Path]:
    files = sorted(root.rglob("*.py"))
    assert files, f"{root} holds no Python files"
    return files


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    """The line and the module of each import."""
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import could climb over a wall unseen"
            yield node.lineno, node.module or ""
