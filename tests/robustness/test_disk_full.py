"""The disk under an SQLite store is full for a while."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.robustness.campaign import WITHIN_S, Campaign, faults
from tests.robustness.traffic import Traffic
from tests.service import PENSTOCK, Service

from penstock.status import Code

FULL_TIMES = faults(quick=2, long=50)
DISK = "24m"
CHUNK_BYTES = 64 * 1024
REFUSALS = 20
TIMEOUT_S = 20.0


def on_small_disk(folder: Path, *program: str) -> tuple[str, ...]:
    """Starts a program with a small disk of its own at `folder`, which is gone when the program ends.

    A mount in a namespace of the program's own needs no rights where the kernel lets users make namespaces.
    """
    namespace = ["--mount"] if os.getuid() == 0 else ["--user", "--map-root-user", "--mount"]
    mount = f'mount -t tmpfs -o size={DISK} tmpfs "$0" && exec "$@"'
    return ("unshare", *namespace, "sh", "-c", mount, str(folder), *program)


def require_small_disk(folder: Path) -> None:
    """Skips the test where no disk can be mounted; fails it where CI=true."""
    if shutil.which("unshare") and subprocess.run(on_small_disk(folder, "true"), capture_output=True).returncode == 0:
        return
    reason = "no small disk can be mounted here: the test needs root, or a kernel that lets users make namespaces"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


async def test_reads_go_on_writes_fail_clearly_and_all_heals(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    require_small_disk(disk)
    campaign = Campaign(tmp_path, f"sqlite:///{disk / 'store.db'}", program=on_small_disk(disk, *PENSTOCK))
    async with campaign.service() as service:
        async with campaign.traffic(service) as traffic:
            for _ in range(FULL_TIMES):
                await traffic.steady()
                await _fill_and_free(campaign, traffic, service, disk)
            await traffic.steady()
        assert {(refusal.code, refusal.reason) for refusal in traffic.refusals} == {
            (Code.UNAVAILABLE, "STORE_UNAVAILABLE")
        }
        assert max(refusal.took_s for refusal in traffic.refusals) <= WITHIN_S
        await campaign.check(service)


async def _fill_and_free(campaign: Campaign, traffic: Traffic, service: Service, disk: Path) -> None:
    filler = _seen_by(service, disk) / "filler"
    refused_before = len(traffic.refusals)
    with filler.open("wb", buffering=0) as file:
        await traffic.until(
            lambda: _fill(file.fileno()) and len(traffic.refusals) >= refused_before + REFUSALS,
            TIMEOUT_S,
            lambda: "writes go on though the disk is full",
        )
    assert (await campaign.found(service)).sessions, "nothing can be read while the disk is full"
    filler.unlink()


def _fill(file: int) -> bool:
    """Writes as much as there is room for."""
    for size_bytes in (CHUNK_BYTES, 1):
        try:
            while True:
                os.write(file, b"x" * size_bytes)
        except OSError:
            continue
    return True


def _seen_by(service: Service, path: Path) -> Path:
    """A path as the service sees it, in its own namespace."""
    return Path(f"/proc/{service.process.pid}/root{path}")
