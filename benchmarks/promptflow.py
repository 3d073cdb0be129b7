"""prompt flow's own server, which lives in an environment of its own: it wants other versions of much that we use."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.process import ROOT

ENVIRONMENT = ROOT / ".tools" / "promptflow"
"""Where `make bench` installs it."""


def command(flow: str, home: Path, *, engine: str, port: int) -> list[str]:
    """The command that serves a copy of a folder of `graphs/` with one of its engines, `flask` or `fastapi`.

    Args:
        home: a folder for the copy, and for what prompt flow itself writes.
    """
    program = ENVIRONMENT / "bin" / "pf"
    if not program.exists():
        sys.exit("prompt flow is missing: make .tools/promptflow/.installed")
    folder = home / flow
    shutil.copytree(ROOT / "benchmarks" / "graphs" / flow, folder)
    (home / "pf.yaml").write_text("telemetry:\n  enabled: false\n")
    options = ["--host", "127.0.0.1", "--port", str(port), "--engine", engine, "--skip-open-browser"]
    return [str(program), "flow", "serve", "--source", str(folder), *options]


def environment(home: Path) -> Mapping[str, str]:
    """The variables that keep what it writes in `home`. All else is as it comes."""
    return {"PF_HOME_DIRECTORY": str(home)}
