"""A service that is called, hurt and checked: what all faults have in common."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import grpc
from tests.robustness.checker import Found, Line, check
from tests.robustness.conversations import Conversations
from tests.robustness.flows import EXECUTIONS_FILE
from tests.robustness.ledger import Ledger
from tests.robustness.stores import SERVICE
from tests.robustness.traffic import OPTIONS, Traffic
from tests.service import PENSTOCK, TOKEN, Service, penstock

from penstock.v1.history_pb2 import ExportMessagesRequest
from penstock.v1.history_pb2_grpc import HistoryServiceStub

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
IS_LONG = os.environ.get("ROBUSTNESS") == "long"
"""Whether the long form was asked for (`make robustness`)."""
WITHIN_S = 1.0 if IS_LONG else 2.5
"""How soon a call is refused that the store does not let through, and how soon the first one succeeds once the store is
back. The promise is a second; the quick form shares its machine with other tests."""
EXPORT_TIMEOUT_S = 120.0
LEASE_S = 2.0
SETTLE_TIMEOUT_S = 60.0
"""How long a service may take to write down how its last runs ended."""


def faults(*, quick: int, long: int) -> int:
    """How many faults a test makes."""
    return long if IS_LONG else quick


def seed() -> int:
    """What the random numbers begin with: ROBUSTNESS_SEED, or another one each time in the long form."""
    given = os.environ.get("ROBUSTNESS_SEED")
    return int(given) if given else int.from_bytes(os.urandom(4), "big") if IS_LONG else 1


class Campaign:
    """The lives of a service on one store, and all that it acknowledges in them.

    Args:
        folder: for the service's files.
        store: the address of the store.
        program: what starts the service, instead of `python -m penstock`.
    """

    def __init__(self, folder: Path, store: str, *, program: Sequence[str] = PENSTOCK) -> None:
        begin = seed()
        print(f"ROBUSTNESS_SEED={begin}")
        self.random = Random(begin)
        self.ledger = Ledger()
        self._conversations = Conversations(self.random)
        self._folder = folder
        self._store = store
        self._program = program
        self._executions = folder / "executions"

    @asynccontextmanager
    async def service(self, instance: str = "service") -> AsyncIterator[Service]:
        """An instance of the service, for one life."""
        env = {EXECUTIONS_FILE: str(self._executions), "PENSTOCK_TOKENS": TOKEN, "PYTHONPATH": str(REPOSITORY)}
        where = ("--grpc", "127.0.0.1:0", "--service", SERVICE, "--store", self._store)
        command = ("server", "flows:chat", *where, "--lease-s", str(LEASE_S))
        life = penstock(*command, folder=self._folder / instance, cwd=HERE, env=env, program=self._program)
        running = await asyncio.to_thread(life.__enter__)
        try:
            yield running
        except BaseException:
            running.process.kill()  # what the test has found must not wait for the service to drain
            raise
        finally:
            await asyncio.to_thread(life.__exit__, None, None, None)

    def traffic(self, service: Service, twin: Service | None = None) -> Traffic:
        """Calls to this life of the service.

        Args:
            twin: another instance, to which the second of two calls with the same key goes.
        """
        twin_target = twin.grpc if twin else ""
        return Traffic(service.grpc, self.ledger, self._conversations, twin_target=twin_target)

    async def check(self, service: Service, live_runs: Callable[[], int] = lambda: 0) -> None:
        """Fails unless every promise was kept. No call may be under way.

        Args:
            live_runs: counts the runs that have not ended. An ending may be written behind its caller's back.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while (live := await asyncio.to_thread(live_runs)) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        check(self.ledger, await self.found(service, live_runs=live))

    async def found(self, service: Service, *, live_runs: int = 0) -> Found:
        """What there is now."""
        sessions: dict[str, list[Line]] = {}
        counts: dict[str, int] = {}
        async with grpc.aio.insecure_channel(service.grpc, options=OPTIONS) as channel:
            export = HistoryServiceStub(channel).ExportMessages(
                ExportMessagesRequest(), metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=EXPORT_TIMEOUT_S
            )
            async for response in export:
                for record in response.records:
                    if record.HasField("session"):
                        assert record.session.session not in sessions, "a session was exported twice"
                        sessions[record.session.session] = []
                        counts[record.session.session] = record.session.message_count
                    else:
                        said = record.message
                        line = Line(turn=said.turn, role=said.role, text=said.text, run=said.run, status=said.status)
                        sessions[said.session].append(line)
        executions = self._executions.read_text().splitlines()
        return Found(sessions=sessions, counts=counts, executions=executions, live_runs=live_runs)


def launcher(module: str, *args: str) -> tuple[str, ...]:
    """The program that runs a module of the tests."""
    return sys.executable, "-m", module, *args
