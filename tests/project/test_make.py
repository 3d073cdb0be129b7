"""The two commands that a newcomer is given, and what they say when something is missing."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
READY_TIMEOUT_S = 120

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PENSTOCK_"))
}


def test_make_alone_lists_the_commands() -> None:
    result = subprocess.run(["make"], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert {"serve", "test", "bench"} <= {line.split()[1] for line in result.stdout.splitlines()}


def test_make_serve_serves_the_example_until_it_is_interrupted(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    flags = f"--http 127.0.0.1:0 --grpc 127.0.0.1:0 --data {tmp_path} --ready-file {ready}"
    with (tmp_path / "log").open("w") as log:
        command = ["make", "--no-print-directory", "serve", f"SERVE_ARGS={flags}"]
        serve = subprocess.Popen(
            command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        told = wait_until_ready(serve, ready)
        assert answer_of(told, "What is Penstock?").startswith("Penstock serves LLM application flows.")
        assert told["token"] in (tmp_path / "log").read_text()
    finally:
        if serve.poll() is None:
            os.killpg(serve.pid, signal.SIGINT)
        serve.wait(timeout=30)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_an_old_python_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\ncase $2 in *version_info*) exit 1 ;; *) echo 3.10.12 ;; esac\n")
    old.chmod(0o755)
    command = ["tools/make-venv", str(tmp_path / "venv")]
    result = subprocess.run(
        command, cwd=REPOSITORY, env=ENVIRONMENT | {"PYTHON": str(old)}, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "3.10.12" in result.stderr
    assert "make PYTHON=" in result.stderr


def wait_until_ready(serve: subprocess.Popen[bytes], ready: Path) -> dict[str, str]:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready.exists():
        assert serve.poll() is None, (ready.parent / "log").read_text()
        assert time.monotonic() < deadline, (ready.parent / "log").read_text()
        time.sleep(0.05)
    told: dict[str, str] = json.loads(ready.read_text())
    return told


def answer_of(told: dict[str, str], question: str) -> str:
    request = urllib.request.Request(
        f"{told['http']}/",
        data=json.dumps({"question": question}).encode(),
        headers={"Authorization": f"Bearer {told['token']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)["answer"]
    assert isinstance(answer, str)
    return answer
