"""`penstock` as a command that runs to its end."""

import os
import subprocess
import sys
from pathlib import Path

FLOWS = Path(__file__).parent / "flows"
TIMEOUT_S = 20


def run(*args: str, cwd: Path, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `penstock ARGS…` to its end."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    return subprocess.run(
        [sys.executable, "-m", "penstock", *args],
        cwd=cwd, input=stdin, env=clean | (env or {}), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def refused(*args: str, cwd: Path, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """What a command that must not succeed says, before it has done anything."""
    done = run(*args, cwd=cwd, stdin=stdin, env=env)
    assert (done.returncode in (1, 2), done.stdout) == (True, "")
    assert "Traceback" not in done.stderr
    return done.stderr
