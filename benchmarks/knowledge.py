"""A retrieval node beside Milvus's client alone, over one index of milvus-lite, in one process on one core."""

import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.cores import SERVER_CORE
from benchmarks.process import ROOT
from benchmarks.sample import Sample
from benchmarks.subjects import RETRIEVAL, Fleet

CHUNKS = 100_000
BUILD_TIMEOUT_S = 600


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How many times as long the node takes as the client; the vector of the query is there already."""

    name: str
    title: str
    seconds: float
    unit: str = "×"
    subjects: tuple[str, ...] = (RETRIEVAL,)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. The first measurement builds the index."""
        folder = fleet.folder / "knowledge"
        folder.mkdir(exist_ok=True)
        command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "benchmarks.baselines.milvus_search"]
        arguments = [str(folder), str(CHUNKS), str(self.seconds)]
        result = subprocess.run(
            [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=True
        )
        found: dict[str, float] = json.loads(result.stdout)
        return Sample(value=found["node_ms"] / found["client_ms"], details=found, cores={"both": SERVER_CORE})
