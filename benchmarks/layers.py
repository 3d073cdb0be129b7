"""Where the CPU time of a process goes, by layer and by line, as py-spy sees it.

A sample belongs to the layer of its innermost frame that has one: time in the interpreter or the C library counts for
whoever called it, and a system call for the layer that made it. Samples of threads that only wait are left out.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Process

RATE_HZ = 250
ROWS_SHOWN = 30
_WAITS = re.compile(r"^(epoll_p?wait|poll|select|pthread_cond_\w*wait|sem_\w*wait|futex\w*|accept4?|nanosleep)\b")
_LAYERS = (
    ("benchmarks/flows", "the flow"),
    ("penstock_bridge/codec", "bridge: JSON and protobuf"),
    ("penstock_bridge", "bridge: HTTP"),
    ("penstock_server/inprocess", "in-process channel"),
    ("penstock_server/runs", "runs"),
    ("penstock_server/flows", "flows"),
    ("penstock_server/services", "services"),
    ("penstock_server", "interceptors and the rest of the server"),
    ("penstock/", "values and errors"),
    ("grpc/", "gRPC"),
    ("aiohttp/", "aiohttp"),
    ("multidict", "aiohttp"),
    ("yarl", "aiohttp"),
    ("orjson", "orjson"),
    ("google/", "protobuf"),
    ("asyncio", "asyncio"),
    ("_contextvars", "asyncio"),
    ("uvloop", "uvloop"),
    ("loop.c", "uvloop"),
    ("core.c:", "uvloop"),
    ("linux.c:", "uvloop"),
    ("stream.c:", "uvloop"),
)
_OURS = re.compile(r"\((penstock(_bridge|_server)?/(?!cli/)|benchmarks/flows)")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Samples of one process, counted three ways."""

    role: str
    layers: Counter[str]
    lines: Counter[str]
    """By line of ours: samples in it, or in what it calls outside of our code."""
    functions: Counter[str]
    """By function of ours: samples in it or in anything below it."""

    def report(self, cpu_us: float) -> list[str]:
        """The shares as microseconds of `cpu_us`, which is what a unit costs this process without the profiler."""
        total = sum(self.layers.values())

        def table(title: str, counter: Counter[str]) -> list[str]:
            rows = [f"  {count * cpu_us / total:8.2f} µs  {name}" for name, count in counter.most_common(ROWS_SHOWN)]
            return [f" {title}", *rows]

        return [
            f"{self.role}: {cpu_us:.2f} µs, {total} samples",
            *table("by layer", self.layers),
            *table("by line of ours, with what it calls elsewhere", self.lines),
            *table("by function of ours, with all below it", self.functions),
        ]


class Profiler:
    """py-spy at work on a process."""

    def __init__(self, process: Process, seconds: float) -> None:
        self.role = process.role
        self._folder = tempfile.TemporaryDirectory()
        self._raw = Path(self._folder.name, "raw")
        command = ["py-spy", "record", "--native", "--format", "raw", "--rate", str(RATE_HZ), "--pid", str(process.pid)]
        command += ["--duration", str(max(1, round(seconds))), "--output", str(self._raw)]
        self._child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def result(self) -> Profile:
        """Waits for the end of the recording and returns what it saw."""
        self._child.wait()
        profile = Profile(role=self.role, layers=Counter(), lines=Counter(), functions=Counter())
        for frames, count in _stacks(self._raw.read_text()):
            profile.layers[_layer(frames)] += count
            ours = [frame for frame in reversed(frames) if _OURS.search(frame)]
            profile.lines.update(dict.fromkeys(ours[:1], count))
            profile.functions.update(dict.fromkeys((frame.rpartition(":")[0] + ")" for frame in ours), count))
        self._folder.cleanup()
        return profile


def _stacks(raw: str) -> Iterator[tuple[list[str], int]]:
    """Stacks from the outermost frame inwards, with their counts; waiting ones are left out."""
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not _WAITS.match(frames[-1]):
            yield frames, int(count)


def _layer(frames: list[str]) -> str:
    for frame in reversed(frames):
        for part, layer in _LAYERS:
            if part in frame:
                return layer
    return "the interpreter and what has no frame of its own"
