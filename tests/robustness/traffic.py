"""Calls a service at a steady rate, and writes down what it acknowledges."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from tests.robustness.conversations import Conversations
from tests.robustness.ledger import Ledger, Turn
from tests.service import TOKEN

from penstock.errors import PenstockError
from penstock.status import Code
from penstock.v1.flow_pb2 import InvokeRequest
from penstock.v1.flow_pb2_grpc import FlowServiceStub

RATE_PER_S = 130.0
RATE_PER_S_MIN = 100.0
"""How many turns a service must acknowledge, answers included, before a fault counts for anything."""
WINDOW_S = 0.5
STEADY_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 10.0
UNDER_WAY_MAX = 400
"""More calls than that are not begun: the service is stuck, and the callers' memory has an end."""
TWINS_S = (0.0, 0.002)
"""When a turn with a key is sent: twice at about the same time, so that the two may meet in the store."""
OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that failed."""

    code: Code
    reason: str
    message: str
    accepted: bool
    """Whether it failed after it had been accepted."""
    sent_s: float
    ended_s: float
    """By the monotonic clock."""

    @property
    def took_s(self) -> float:
        return self.ended_s - self.sent_s


class Traffic:
    """Calls the chat flow at `RATE_PER_S` while its block lasts. Leaving the block waits for the calls under way.

    Args:
        target: the address of the server's gRPC port.
        ledger: where acknowledgements are written down. Its keyed turns without an answer are sent again first.
        conversations: who says what.
        twin_target: where the second of two calls with the same key goes, if not to `target`.
    """

    def __init__(self, target: str, ledger: Ledger, conversations: Conversations, *, twin_target: str = "") -> None:
        self.refusals: list[Refusal] = []
        self.successes_s: deque[float] = deque()
        """When each answer came, by the monotonic clock."""
        self._targets = (target, twin_target or target)
        self._ledger = ledger
        self._conversations = conversations
        self._again: Iterator[Turn] = iter(ledger.unanswered())
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._channels = [grpc.aio.insecure_channel(target, options=OPTIONS) for target in self._targets]
        self._stubs: list[Any] = [FlowServiceStub(channel) for channel in self._channels]
        self._pacer = asyncio.create_task(self._pace())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await self._pacer
        await asyncio.gather(*self._calls)
        for channel in self._channels:
            await channel.close()

    async def steady(self) -> None:
        """Waits until the service acknowledges `RATE_PER_S_MIN`; fails where it never does."""
        await self.until(
            lambda: self.rate_per_s() >= RATE_PER_S_MIN,
            STEADY_TIMEOUT_S,
            lambda: f"only {self.rate_per_s():.0f} acknowledged turns/s; refusals: {self.refusals[-3:]}",
        )

    def rate_per_s(self) -> float:
        """How many turns were answered in the last `WINDOW_S`, a second."""
        since = time.monotonic() - WINDOW_S
        recent = 0
        for moment in reversed(self.successes_s):
            if moment < since:
                break
            recent += 1
        return recent / WINDOW_S

    async def until(self, true: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
        """Waits for something to become true; fails where it does not within the time."""
        deadline = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < deadline, otherwise()
            await asyncio.sleep(0.01)

    async def _pace(self) -> None:
        due = time.monotonic()
        while not self._stopping:
            if len(self._calls) < UNDER_WAY_MAX:
                self._begin(next(self._again, None) or self._conversations.next())
            due = max(due + 1 / RATE_PER_S, time.monotonic() - WINDOW_S)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _begin(self, turn: Turn) -> None:
        for stub, delay_s in zip(self._stubs, TWINS_S if turn.key else TWINS_S[:1], strict=False):
            task = asyncio.create_task(self._call(stub, turn, delay_s))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _call(self, stub: Any, turn: Turn, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        request = InvokeRequest()
        request.inputs["question"] = turn.text
        self._ledger.sent(turn)
        sent_s = time.monotonic()
        call = stub.Invoke(request, metadata=_metadata(turn), timeout=CALL_TIMEOUT_S)
        run: str | None = None
        try:
            run = dict(await call.initial_metadata()).get("penstock-run-id")
            if run:
                self._ledger.accepted(turn, run)
            answer = await call
        except grpc.RpcError as error:
            if not run:
                self._ledger.refused(turn)
            self._refused(error, sent_s, accepted=bool(run))
        else:
            if not turn.finished:
                self.successes_s.append(time.monotonic())
            self._ledger.finished(turn, answer.outputs["answer"])

    def _refused(self, rpc_error: grpc.RpcError, sent_s: float, *, accepted: bool) -> None:
        error = PenstockError.of_rpc(rpc_error)
        self.refusals.append(
            Refusal(
                code=error.code,
                reason=error.reason,
                message=error.message,
                accepted=accepted,
                sent_s=sent_s,
                ended_s=time.monotonic(),
            )
        )


def _metadata(turn: Turn) -> tuple[tuple[str, str], ...]:
    sent = (
        ("authorization", f"Bearer {TOKEN}"),
        ("chat-session-id", turn.session),
        ("chat-user-id", turn.user),
        ("idempotency-key", turn.key),
    )
    return tuple((name, value) for name, value in sent if value)
