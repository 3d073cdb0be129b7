"""Penstock's benchmarks: every subject in one run, in turns. `python -m benchmarks --help` tells the options."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import report
from benchmarks.calls import WrongAnswer
from benchmarks.cores import LOAD_CORE
from benchmarks.figures import Results
from benchmarks.sample import Benchmark
from benchmarks.subjects import Fleet
from benchmarks.suite import benchmarks
from benchmarks.throughput import Throughput

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Returns 0 when every figure was reached, 1 when one was missed, 2 when a subject's answers were wrong."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # or the subjects would stay
    rounds, seconds = (1, 0.5) if options.quick else (options.rounds, options.seconds)
    chosen = [b for b in benchmarks(seconds) if not options.only or b.name in options.only]
    if options.profile:
        return _profile(chosen, options.profile)
    os.sched_setaffinity(0, {LOAD_CORE})
    started = datetime.now(UTC)
    try:
        results = _run(chosen, rounds)
    except WrongAnswer as error:
        print(f"A subject's answers are wrong, so nothing is measured: {error}", file=sys.stderr)
        return 2
    _print_header(rounds, seconds)
    print(report.text(chosen, results))
    path = options.json or RESULTS / f"{started:%Y%m%dT%H%M%SZ}.json"
    report.write(
        path, {"started": started.isoformat(), **report.document(chosen, results, rounds=rounds, seconds=seconds)}
    )
    print(f"\nwritten to {path}")
    return 1 if report.missed(results) else 0


def _run(chosen: Sequence[Benchmark], rounds: int) -> Results:
    """Measures round by round; within a round the subjects of a benchmark take turns, each round another one first."""
    results: Results = {b.name: {subject: [] for subject in b.subjects} for b in chosen}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, Fleet(Path(folder)) as fleet:
        for number in range(rounds):
            for benchmark in chosen:
                first = number % len(benchmark.subjects)
                for subject in (*benchmark.subjects[first:], *benchmark.subjects[:first]):
                    sample = benchmark.measure(fleet, subject)
                    results[benchmark.name][subject].append(sample)
                    value = f"{sample.value:,.2f} {benchmark.unit}"
                    print(f"{number + 1}/{rounds}  {benchmark.name}  {subject}  {value}", file=sys.stderr, flush=True)
    return results


def _profile(chosen: Sequence[Benchmark], subjects: Sequence[str]) -> int:
    """Tells where the CPU time goes; the machine is busy with the profiler too, so this measures nothing else."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, Fleet(Path(folder)) as fleet:
        for benchmark in chosen:
            if isinstance(benchmark, Throughput):
                for subject in (name for name in benchmark.subjects if name in subjects):
                    print("\n".join(benchmark.profile(fleet, subject)), flush=True)
    return 0


def _print_header(rounds: int, seconds: float) -> None:
    machine = report.machine()
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    print(f"{machine['cpu']}, Python {machine['python']}, event loop {machine['event_loop']}, {versions}")
    print(
        f"{rounds} rounds of {seconds:g} s, subjects in turns; medians with ranges; ratios are taken within a round.\n"
    )


def _parser() -> argparse.ArgumentParser:
    names = [b.name for b in benchmarks(1)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often everything is measured (5)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="how long one measurement takes (3)")
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help=f"measure these alone: {', '.join(names)}"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="where the JSON file goes (benchmarks/results/)")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures nothing")
    parser.add_argument("--profile", nargs="+", metavar="SUBJECT", help="profile these subjects instead, with py-spy")
    return parser


if __name__ == "__main__":
    sys.exit(main())
