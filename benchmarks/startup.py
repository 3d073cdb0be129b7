"""How long `penstock serve` takes to be ready, and what memory it then holds."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.calls import echo
from benchmarks.sample import Sample
from benchmarks.subjects import ONE, Fleet

IDLE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Startup:
    """Seconds from the start of the program to its ready-file, and MiB of resident memory a second later.

    The program stores what is said, as it does by default, in a database that it has to make.
    """

    name: str
    title: str
    unit: str = "s"
    subjects: tuple[str, ...] = (ONE,)

    def measure(self, fleet: Fleet, subject: str) -> Sample:
        """See `Benchmark`. The program may use every core, as it would."""
        with (
            tempfile.TemporaryDirectory() as folder,
            Fleet(Path(folder), {"PENSTOCK_STORE": f"sqlite:///{folder}/store.db"}) as fresh,
        ):
            start = time.monotonic()
            target = fresh[subject]
            ready_s = time.monotonic() - start
            time.sleep(IDLE_S)
            idle_mib = target.rss_bytes() / 2**20
            echo().verify(target)
        return Sample(value=ready_s, details={"idle_mib": idle_mib})
