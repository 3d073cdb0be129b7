"""The Python client and `penstock invoke --stream` go on where a connection was cut."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.line import Line
from tests.cli.shell import FLOWS
from tests.service import TOKEN, Service, penstock

from penstock import Client, PenstockError, following
from penstock.status import Code
from penstock.v1 import run_pb2
from penstock.values import from_struct

WAIT_S = 20.0
COUNTED = "0 1 2 3 4 5 6 7 8 9 "


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server, and flows that take their time."""
    folder = tmp_path_factory.mktemp("resuming")
    flows = ("workers:counts", "lifecycle:silent")
    options = ("--grpc", "127.0.0.1:0", "--token", TOKEN, "--disconnect-grace-s", "5")
    with penstock("server", *flows, *options, folder=folder, cwd=FLOWS) as running:
        yield running


@pytest.fixture
def line(service: Service) -> Iterator[Line]:
    """A line to the server."""
    line = Line(service.grpc)
    yield line
    line.end()


@pytest.fixture
def client(line: Line) -> Iterator[Client]:
    """A client at the end of the line."""
    with Client(line.address, token=TOKEN) as client:
        yield client


def said(events: list[run_pb2.RunEvent]) -> str:
    return "".join(str(from_struct(event.output_delta.outputs).get("output", "")) for event in events)


def test_a_stream_that_is_cut_again_and_again_tells_every_event_once(client: Client, line: Line) -> None:
    events = []
    for event in client.stream({"seconds": 2}, timeout_s=WAIT_S):
        events.append(event)
        if event.sequence in (1, 4, 5, 9):
            line.cut()
    assert [event.sequence for event in events] == list(range(1, 13))
    assert said(events) == COUNTED


def test_a_run_can_be_watched_while_it_lives_and_when_it_has_ended(client: Client, line: Line) -> None:
    run = next(client.stream({"seconds": 1})).run_started.run
    assert said(list(client.watch(run, after=1, timeout_s=WAIT_S))) == COUNTED
    assert said(list(client.watch(run, after=8, timeout_s=WAIT_S))) == "7 8 9 "


def test_a_run_that_is_cancelled_meanwhile_raises_so_at_its_end(client: Client, line: Line) -> None:
    stream = client.stream({"seconds": 30}, timeout_s=WAIT_S)
    run = next(stream).run_started.run
    line.cut()
    time.sleep(0.2)
    with Client(line.address, token=TOKEN) as other:
        assert other.cancel(run).status == run_pb2.Run.CANCELED
    with pytest.raises(PenstockError) as raised:
        list(stream)
    assert (raised.value.code, raised.value.reason) == (Code.CANCELLED, "RUN_CANCELED")


def test_a_line_that_stays_cut_is_given_up(client: Client, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RESUME_S", 0.5)
    stream = client.stream({"seconds": 30})
    next(stream)
    line.close()
    with pytest.raises(PenstockError) as raised:
        list(stream)
    assert raised.value.code is Code.UNAVAILABLE


def test_a_deadline_holds_across_cuts(client: Client, line: Line) -> None:
    stream = client.stream({"seconds": 30}, timeout_s=1)
    next(stream)
    line.cut()
    with pytest.raises(PenstockError) as raised:
        list(stream)
    assert raised.value.code is Code.DEADLINE_EXCEEDED


def test_a_run_that_is_not_kept_ends_with_its_connection(tmp_path: Path) -> None:
    options = ("--grpc", "127.0.0.1:0", "--token", TOKEN, "--no-store")
    with penstock("server", "workers:counts", *options, folder=tmp_path, cwd=FLOWS) as server:
        line = Line(server.grpc)
        with Client(line.address, token=TOKEN) as client:
            stream = client.stream({"seconds": 10}, timeout_s=WAIT_S)
            next(stream)
            line.cut()
            with pytest.raises(PenstockError) as raised:
                list(stream)
        line.end()
    assert raised.value.code is Code.UNAVAILABLE


@contextlib.contextmanager
def invoking(target: str, flow: str, given: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "penstock", "invoke", flow, "--stream", "--target", target, "--token", TOKEN]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.close()
        yield process
        process.kill()


def test_the_command_prints_the_whole_answer_over_a_line_that_is_cut(line: Line) -> None:
    with invoking(line.address, "counts", '{"seconds": 2}') as process:
        assert process.stdout is not None
        printed = process.stdout.read(4)
        line.cut()
        printed += process.stdout.read()
        assert process.wait(WAIT_S) == 0
    assert printed == COUNTED + "\n"


def test_ctrl_c_cancels_the_run(service: Service, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with invoking(service.grpc, "silent", f'{{"trace": "{trace}"}}') as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == "first"
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 1
    assert trace.read_text()
