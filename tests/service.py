"""Real Penstock processes for tests: started on free ports, stopped by their own pid."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
TOKEN = "token-of-the-tests"
PENSTOCK = (sys.executable, "-m", "penstock")


class NotReady(AssertionError):
    """The process ended, or took too long, before it was ready."""

    def __init__(self, process: int, said: str) -> None:
        super().__init__(f"penstock did not get ready:\n{said}")
        self.process = process
        """Its id."""


@dataclass(kw_only=True)
class Service:
    """A running `penstock` process."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path
    http: str = ""
    grpc: str = ""
    token: str = ""

    def log(self) -> str:
        """What the process has written to its standard error."""
        return self.stderr.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Sends the process a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Asks the process to stop and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextlib.contextmanager
def penstock(
    *args: str, folder: Path, cwd: Path, env: dict[str, str] | None = None, program: Sequence[str] = PENSTOCK
) -> Iterator[Service]:
    """Runs `penstock ARGS…` until the block ends; `folder` is private to it, `program` what stands for `penstock`."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    stdout, stderr = folder / "stdout", folder / "stderr"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PENSTOCK_", "OPENAI_"))}
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            [*program, *args, "--ready-file", str(ready)],
            stdout=out,
            stderr=err,
            cwd=cwd,
            env=clean | {"PENSTOCK_DATA": str(folder / "data")} | (env or {}),
        )
    service = Service(process=process, stdout=stdout, stderr=stderr)
    try:
        facts = _wait_ready(service, ready)
        service.http, service.grpc, service.token = (facts.get(key, "") for key in ("http", "grpc", "token"))
        yield service
    finally:
        service.stop()


def _wait_ready(service: Service, ready: Path) -> dict[str, str]:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if ready.exists():
            return json.loads(ready.read_text())
        if service.process.poll() is not None:
            break
        time.sleep(0.02)
    raise NotReady(service.process.pid, f"{service.stdout.read_text()}\n{service.log()}")
