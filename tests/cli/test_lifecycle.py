"""A serving process starts, stops and loses its clients as a user would expect."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from tests.service import Service, penstock

FLOWS = Path(__file__).parent / "flows"
NAMES = ("echo", "waits", "endless", "silent")
WAIT_S = 10.0


@contextlib.contextmanager
def serving(folder: Path, *args: str) -> Iterator[Service]:
    """`penstock serve` without tokens."""
    ports = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--no-auth")
    with penstock(
        "serve", *(f"lifecycle:{name}" for name in NAMES), *ports, *args, folder=folder, cwd=FLOWS
    ) as service:
        yield service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service of its own for each test."""
    with serving(tmp_path, "--drain-s", "2", "--write-timeout-s", "1") as running:
        yield running


def invoke(service: Service, flow: str, **inputs: object) -> requests.Response:
    """Calls a flow and waits for its answer."""
    return requests.post(f"{service.http}/v1/flows/{flow}:invoke", json={"inputs": inputs}, timeout=WAIT_S)


def until(condition: Callable[[], bool]) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_finish_and_then_ends_the_process(service: Service, number: signal.Signals) -> None:
    answers: list[requests.Response] = []
    caller = threading.Thread(target=lambda: answers.append(invoke(service, "waits", seconds=1)))
    caller.start()
    time.sleep(0.4)
    service.signal(number)
    caller.join()
    assert answers[0].json()["outputs"] == {"output": "done"}
    assert service.process.wait(WAIT_S) == 0


def test_a_stopping_service_refuses_new_calls_and_says_when_to_come_back(service: Service) -> None:
    connection = requests.Session()
    connection.get(f"{service.http}/healthz", timeout=WAIT_S)
    caller = threading.Thread(target=lambda: invoke(service, "waits", seconds=1))
    caller.start()
    time.sleep(0.4)
    service.signal(signal.SIGTERM)
    time.sleep(0.2)
    refused = connection.post(f"{service.http}/", json={}, timeout=WAIT_S)
    ready = connection.get(f"{service.http}/readyz", timeout=WAIT_S)
    assert refused.status_code == ready.status_code == 503
    assert refused.json()["error"]["details"][0]["reason"] == "DRAINING"
    assert int(refused.headers["Retry-After"]) > 0
    caller.join()


def test_a_run_that_outlives_the_drain_is_interrupted(service: Service) -> None:
    answers: list[requests.Response] = []
    caller = threading.Thread(target=lambda: answers.append(invoke(service, "waits", seconds=60)))
    caller.start()
    time.sleep(0.4)
    service.signal(signal.SIGTERM)
    caller.join()
    assert answers[0].status_code == 503
    assert answers[0].json()["error"]["details"][0]["reason"] == "RUN_INTERRUPTED"
    assert service.process.wait(WAIT_S) == 0


def test_an_open_stream_is_told_that_its_run_was_interrupted(service: Service, tmp_path: Path) -> None:
    stream = requests.post(
        f"{service.http}/v1/flows/silent:invokeStream",
        json={"inputs": {"trace": str(tmp_path / "trace")}},
        stream=True,
        timeout=WAIT_S,
    )
    lines = stream.iter_lines(decode_unicode=True)
    assert next(lines) == "event: run_started"
    service.signal(signal.SIGTERM)
    rest = list(lines)
    assert rest.count("event: error") == 1
    assert "RUN_INTERRUPTED" in rest[-2]
    assert (tmp_path / "trace").exists()


def test_a_second_signal_ends_the_process_at_once(service: Service) -> None:
    caller = threading.Thread(target=_call_and_lose, args=(service,))
    caller.start()
    time.sleep(0.4)
    service.signal(signal.SIGTERM)
    until(lambda: "stopping" in service.log())
    service.signal(signal.SIGTERM)
    assert service.process.wait(1) == 128 + signal.SIGTERM
    caller.join()


def _call_and_lose(service: Service) -> None:
    with contextlib.suppress(requests.ConnectionError):
        invoke(service, "waits", seconds=60)


@pytest.mark.parametrize("flow", ["endless", "silent"])
def test_a_client_that_leaves_ends_its_run(service: Service, tmp_path: Path, flow: str) -> None:
    trace = tmp_path / "trace"
    with requests.post(
        f"{service.http}/v1/flows/{flow}:invokeStream",
        json={"inputs": {"trace": str(trace)}, "options": {"onDisconnect": "CANCEL"}},
        stream=True,
        timeout=WAIT_S,
    ) as stream:
        lines = stream.iter_lines()  # to let go of it is to leave
        next(lines)
        assert not trace.exists()
    until(trace.exists)


def test_a_client_that_reads_nothing_is_dropped(service: Service, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    host, port = service.http.removeprefix("http://").split(":")
    body = f'{{"inputs": {{"trace": "{trace}"}}}}'.encode()
    head = f"POST /v1/flows/endless:invokeStream HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        client.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(trace.exists)
    assert invoke(service, "echo").status_code == 200


@pytest.mark.parametrize("flag", ["--http", "--grpc"])
def test_a_port_in_use_is_named_and_what_to_do(service: Service, tmp_path: Path, flag: str) -> None:
    taken = service.http.removeprefix("http://") if flag == "--http" else service.grpc
    other = {"--http": "127.0.0.1:0", "--grpc": "127.0.0.1:0"} | {flag: taken}
    command = [
        sys.executable,
        "-m",
        "penstock",
        "serve",
        "lifecycle:echo",
        *(part for pair in other.items() for part in pair),
    ]
    env = os.environ | {"PENSTOCK_DATA": str(tmp_path)}
    second = subprocess.run(command, cwd=FLOWS, env=env, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert second.returncode == 1
    assert f"cannot listen on {taken}" in second.stderr
    assert f"{flag} HOST:PORT" in second.stderr
    assert "Traceback" not in second.stderr
