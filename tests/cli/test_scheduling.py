"""How a serving process is scheduled."""

import os
import sys
from pathlib import Path

import pytest
from tests.service import penstock

FLOWS = Path(__file__).parent / "flows"


@pytest.mark.skipif(sys.platform != "linux", reason="the policy is Linux's own")
@pytest.mark.parametrize("command", ["serve", "server", "bridge"])
def test_grpcs_thread_interrupts_nothing_and_the_event_loop_is_as_any_program(tmp_path: Path, command: str) -> None:
    ports = {
        "serve": ("lifecycle:echo", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--no-auth"),
        "server": ("lifecycle:echo", "--grpc", "127.0.0.1:0", "--no-auth"),
        "bridge": ("--http", "127.0.0.1:0", "--upstream", "127.0.0.1:1"),
    }
    with penstock(command, *ports[command], folder=tmp_path, cwd=FLOWS) as service:
        pid = service.process.pid
        threads = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
        policies = {thread: os.sched_getscheduler(thread) for thread in threads}
    assert policies.pop(pid) == os.SCHED_OTHER
    assert os.SCHED_BATCH in policies.values()
