"""Several workers serve as one: one address each, one set of tokens, one store; those that end are replaced."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.cli.shell import FLOWS, refused
from tests.service import Service, penstock

from penstock.errors import PenstockError
from penstock.v1 import flow_pb2, flow_pb2_grpc

NAMES = ("pid", "chat", "counts", "waits")
WAIT_S = 20.0
CHANNELS = 24
"""So many connections go to one of two workers once in eight million times."""


@contextlib.contextmanager
def serving(folder: Path, *args: str, command: str = "serve", auth: bool = False) -> Iterator[Service]:
    """Two workers."""
    ports = ("--grpc", "127.0.0.1:0", *(("--http", "127.0.0.1:0") if command == "serve" else ()))
    flows = [f"workers:{name}" for name in NAMES]
    options = (*ports, "--workers", "2", *(() if auth else ("--no-auth",)), *args)
    with penstock(command, *flows, *options, folder=folder, cwd=FLOWS) as service:
        yield service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service of its own for each test."""
    with serving(tmp_path, "--drain-s", "15") as running:
        yield running


def workers_of(service: Service) -> set[int]:
    """The processes that the supervisor has started and that live."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text()
    return {int(pid) for pid in children.split() if alive(int(pid))}


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], bool]) -> None:
    """Waits until it holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.02)


def invoke(service: Service, flow: str, **inputs: object) -> requests.Response:
    """Calls a flow over a connection of its own, and waits for its answer."""
    headers = {"Authorization": f"Bearer {service.token}"} if service.token else {}
    url = f"{service.http}/v1/flows/{flow}:invoke"
    return requests.post(url, json={"inputs": inputs}, headers=headers, timeout=WAIT_S)


def http_pid(service: Service) -> int:
    """The worker that answers a new connection."""
    return int(invoke(service, "pid").json()["outputs"]["output"])


def grpc_pid(service: Service) -> int:
    """The worker that answers on a new channel."""
    with grpc.insecure_channel(service.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = flow_pb2_grpc.FlowServiceStub(channel)
        metadata = (("authorization", f"Bearer {service.token}"),) if service.token else ()
        run = stub.Invoke(flow_pb2.InvokeRequest(flow="pid"), metadata=metadata, timeout=WAIT_S, wait_for_ready=True)
        return int(str(run.outputs["output"]))


def seen(ask: Callable[[Service], int], service: Service) -> set[int]:
    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(lambda _: ask(service), range(CHANNELS)))


def test_all_workers_answer_over_http_and_grpc(service: Service) -> None:
    workers = workers_of(service)
    assert len(workers) == 2
    assert service.process.pid not in workers
    assert seen(grpc_pid, service) == workers
    answered: set[int] = set()
    until(lambda: answered.update(seen(http_pid, service)) or answered == workers)  # type: ignore[func-returns-value]


def test_workers_serve_grpc_alone_as_well(tmp_path: Path) -> None:
    with serving(tmp_path, command="server", auth=True) as server:
        assert seen(grpc_pid, server) == workers_of(server)


def test_all_workers_know_the_one_token_that_was_made_and_no_argument_shows_it(tmp_path: Path) -> None:
    with serving(tmp_path, auth=True) as service:
        assert service.token
        assert seen(grpc_pid, service) == workers_of(service)
        assert http_pid(service) in workers_of(service)
        assert service.stdout.read_text().count("Penstock serves") == 1
        for pid in workers_of(service):
            assert service.token not in Path(f"/proc/{pid}/cmdline").read_text()
            assert service.token not in Path(f"/proc/{pid}/environ").read_text()
        service.token = "another"
        assert invoke(service, "pid").status_code == 401


def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(service: Service) -> None:
    killed, other = workers_of(service)
    os.kill(killed, signal.SIGKILL)
    until(lambda: not alive(killed))
    assert http_pid(service) == other
    until(lambda: service.log().count("is ready") == 1)
    assert "ended (SIGKILL); another takes its place in 0.5 s" in service.log()
    assert seen(grpc_pid, service) == workers_of(service)
    assert other in workers_of(service)
    assert len(workers_of(service)) == 2


def test_the_log_says_which_worker_it_was(service: Service) -> None:
    service.stop()
    for name in ("supervisor", "worker 1", "worker 2"):
        assert f"INFO [{name}] penstock: SIGTERM: stopping" in service.log()


def test_a_worker_that_is_asked_to_stop_finishes_its_runs_and_is_replaced(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(invoke, service, "waits", seconds=2) for _ in range(8)]
        time.sleep(1)
        before = workers_of(service)
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        answers = [call.result() for call in calls]
    assert {answer.status_code for answer in answers} == {200}
    until(lambda: service.log().count("is ready") == 2)
    assert http_pid(service) in workers_of(service) - before


def test_a_stop_loses_no_stream_that_runs(service: Service) -> None:
    """Over HTTP, where a stream that was cut has no terminal frame, and over gRPC."""
    url = f"{service.http}/v1/flows/counts:invokeStream"

    def http_stream(number: int) -> str:
        frames = []
        with requests.post(url, json={"inputs": {"seconds": 3}}, stream=True, timeout=WAIT_S) as stream:
            frames = list(stream.iter_lines(decode_unicode=True))
        return next(line for line in reversed(frames) if line.startswith("event: "))

    def grpc_stream(number: int) -> str:
        with grpc.insecure_channel(service.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            request = flow_pb2.InvokeRequest(flow="counts")
            request.inputs.update({"seconds": 3})
            *_, last = flow_pb2_grpc.FlowServiceStub(channel).InvokeStream(request, timeout=WAIT_S)
            return str(last.events[-1].WhichOneof("event"))

    with ThreadPoolExecutor(16) as pool:
        over_http = [pool.submit(http_stream, number) for number in range(8)]
        over_grpc = [pool.submit(grpc_stream, number) for number in range(8)]
        time.sleep(1.5)
        service.signal(signal.SIGTERM)
        assert {each.result() for each in over_http} == {"event: done"}
        assert {each.result() for each in over_grpc} == {"run_finished"}
    assert service.process.wait(WAIT_S) == 0


def test_workers_that_stop_refuse_new_calls_and_say_when_to_come_back(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(invoke, service, "waits", seconds=3) for _ in range(8)]
        time.sleep(1)
        service.signal(signal.SIGTERM)
        until(lambda: service.log().count("stopping") == 3)
        time.sleep(0.2)
        assert requests.get(f"{service.http}/readyz", timeout=WAIT_S).status_code == 503
        refused = invoke(service, "pid")
        with grpc.insecure_channel(service.grpc) as channel:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
            assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.RpcError) as error:
                flow_pb2_grpc.FlowServiceStub(channel).Invoke(flow_pb2.InvokeRequest(flow="pid"), timeout=WAIT_S)
        assert {call.result().status_code for call in calls} == {200}
    assert refused.status_code == 503
    assert refused.json()["error"]["details"][0]["reason"] == "DRAINING"
    assert int(refused.headers["Retry-After"]) > 0
    told = PenstockError.of_rpc(error.value)
    assert (told.code.name, told.reason) == ("UNAVAILABLE", "DRAINING")
    assert told.retry_after_s


def test_a_second_signal_ends_everything_at_once(service: Service) -> None:
    workers = workers_of(service)
    with ThreadPoolExecutor(8) as pool:
        call = pool.submit(invoke, service, "waits", seconds=60)
        time.sleep(0.5)
        service.signal(signal.SIGTERM)
        until(lambda: "stopping" in service.log())
        service.signal(signal.SIGTERM)
        assert service.process.wait(2) == 128 + signal.SIGTERM
        until(lambda: not any(map(alive, workers)))
        with pytest.raises(requests.ConnectionError):
            call.result()


def test_a_signal_to_all_processes_at_once_drains_as_well(service: Service) -> None:
    """As systemd sends it."""
    with ThreadPoolExecutor(8) as pool:
        call = pool.submit(invoke, service, "waits", seconds=2)
        time.sleep(0.5)
        for pid in (*workers_of(service), service.process.pid):
            os.kill(pid, signal.SIGTERM)
        assert call.result().status_code == 200
    assert service.process.wait(WAIT_S) == 0


def test_workers_whose_supervisor_is_killed_drain_and_leave_nothing_behind(service: Service, tmp_path: Path) -> None:
    workers = workers_of(service)
    with ThreadPoolExecutor(8) as pool:
        call = pool.submit(invoke, service, "waits", seconds=8)
        time.sleep(0.5)
        service.signal(signal.SIGKILL)
        service.process.wait()
        until(lambda: service.log().count("the supervisor is gone: stopping") == 2)
        store = f"sqlite:///{tmp_path}/data/chat_history.db"
        complaint = refused(*("server", "workers:pid", "--grpc", "127.0.0.1:0", "--store", store), cwd=FLOWS)
        assert f"is in use by process {service.process.pid}" in complaint  # until the last worker has ended
        assert call.result().status_code == 200
    until(lambda: not any(map(alive, workers)))
    for address in (service.http.removeprefix("http://"), service.grpc):
        host, port = address.split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))


def test_a_second_service_on_the_same_sqlite_file_is_refused(service: Service, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/data/chat_history.db"
    for count in ("1", "2"):
        said = refused(
            *("server", "workers:pid", "--grpc", "127.0.0.1:0", "--store", store, "--workers", count), cwd=FLOWS
        )
        assert f"is in use by process {service.process.pid}" in said
    assert http_pid(service) in workers_of(service)


def test_no_turn_is_lost_between_workers_that_write_one_file(service: Service) -> None:
    """Sixteen conversations at once; each turn goes to whichever worker takes it, and sees all rounds before it."""

    def converse(number: int) -> list[object]:
        headers = {"Chat-Session-Id": f"conversation-of-sixteen-number-{number:02}-of-them"}
        return [said(headers) for _ in range(8)]

    def said(headers: dict[str, str]) -> object:
        url = f"{service.http}/v1/flows/chat:invoke"  # on a connection of its own each time
        answer = requests.post(url, json={"inputs": {"question": "hi"}}, headers=headers, timeout=WAIT_S)
        return answer.json().get("outputs", {}).get("answer", answer.text)

    with ThreadPoolExecutor(16) as pool:
        heard = list(pool.map(converse, range(16)))
    assert heard == [[str(rounds) for rounds in range(8)]] * 16


@pytest.mark.parametrize("flag", ["--http", "--grpc"])
def test_a_port_in_use_is_named_and_what_to_do(service: Service, tmp_path: Path, flag: str) -> None:
    taken = service.http.removeprefix("http://") if flag == "--http" else service.grpc
    ports = {"--http": "127.0.0.1:0", "--grpc": "127.0.0.1:0"} | {flag: taken}
    args = [part for pair in ports.items() for part in pair]
    for count in ("1", "2"):
        said = refused("serve", "workers:pid", *args, "--workers", count, "--data", str(tmp_path / count), cwd=FLOWS)
        assert f"cannot listen on {taken}" in said
        assert f"{flag} HOST:PORT" in said


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_port_that_a_server_would_share_is_in_use_all_the_same(tmp_path: Path, count: str) -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = f"127.0.0.1:{stranger.getsockname()[1]}"
        data = str(tmp_path / count)
        said = refused("server", "workers:pid", "--grpc", taken, "--workers", count, "--data", data, cwd=FLOWS)
    assert f"cannot listen on {taken} for gRPC" in said


def test_a_flow_that_cannot_be_served_is_told_once(tmp_path: Path) -> None:
    said = refused("serve", "workers:missing", "--workers", "2", "--data", str(tmp_path), cwd=FLOWS)
    assert said.count("Error: the flow cannot be served") == 1
    assert said.count("missing") >= 1


def test_workers_that_cannot_share_an_address_are_refused(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/socket"
    said = refused("serve", "workers:pid", "--grpc", address, "--workers", "2", cwd=FLOWS)
    assert f"workers cannot share {address}: give them a port with --grpc HOST:PORT" in said


def test_a_worker_that_never_gets_ready_ends_the_service(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text("import os\nos._exit(7)\n")
    said = refused("serve", "dies:flow", "--workers", "2", cwd=tmp_path)
    assert "ended before it was ready (exit status 7)" in said
    assert said.count("Error: worker ") == 1


def test_a_signal_while_workers_start_ends_them(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    args = ("serve", "slow:flow", "--workers", "2", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with subprocess.Popen([sys.executable, "-m", "penstock", *args], cwd=tmp_path) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: len(children.read_text().split()) == 2)
        workers = [int(pid) for pid in children.read_text().split()]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert not any(map(alive, workers))
