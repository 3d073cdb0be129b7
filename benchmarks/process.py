"""A program under test: started, pinned, watched through /proc and stopped by its own pid."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository; the programs run in it."""

READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.001
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class NotReady(Exception):
    """A program ended, or said nothing, instead of becoming ready."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A running program."""

    role: str
    """What it is in its subject: `server`, `bridge`, `envoy`."""
    child: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.child.pid

    def pin(self, core: int) -> None:
        """Keeps every thread of the program on one core; threads that it starts later inherit that."""
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})

    def cpu_s(self) -> float:
        """User and system time of all its threads and children so far."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(sum(_times(Path(f"/proc/{pid}/stat"))) for pid in (self.pid, *children)) * _TICK_S

    def rss_bytes(self) -> int:
        """Resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ProcessLookupError(self.pid)

    def stop(self) -> None:
        """Asks the program to end, and makes it end when it does not."""
        self.child.terminate()
        try:
            self.child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def start(role: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Starts a program in the repository's folder; its output goes to `log`."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Process(role=role, child=child, log=log)


def wait_for_file(process: Process, ready_file: Path) -> str:
    """Waits until the program has written its ready-file, and returns what is in it."""
    _wait(process, ready_file.exists)
    return ready_file.read_text()


def wait_for_port(process: Process, port: int) -> None:
    """Waits until something listens on the port."""
    _wait(process, lambda: _listens(port))


def machine_cpu_s() -> float:
    """The CPU time that all programs of the machine together have used so far.

    It is the sum over processes, with that of their ended children. `/proc/stat` would be one file, but it samples
    clock ticks, and so tells up to 0.4 cores too much of a program that wakes often and briefly.
    """
    return sum(sum(_times(path)) for path in Path("/proc").glob("[0-9]*/stat")) * _TICK_S


def _times(stat: Path) -> list[int]:
    """User and system time, then those of ended children, in clock ticks; nothing of a process that has just ended."""
    try:
        return [int(field) for field in stat.read_text().rpartition(")")[2].split()[11:15]]
    except (FileNotFoundError, ProcessLookupError):
        return []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: Process, ready: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + READY_TIMEOUT_S
    while not ready():
        if process.child.poll() is not None or time.monotonic() > give_up_s:
            process.stop()
            raise NotReady(f"{process.role} did not become ready:\n{process.log.read_text(errors='replace')[-2000:]}")
        time.sleep(POLL_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
