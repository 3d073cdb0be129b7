"""Those who call a service: each does what the plan says, and writes down all that it sees."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

import grpc
from tests.robustness.runs.events import said, seen
from tests.robustness.runs.history import FINISHED, TERMINAL, Cancel, History, Reader, Request
from tests.robustness.runs.plan import How, Later, Planned
from tests.service import TOKEN

from penstock.errors import PenstockError
from penstock.v1.flow_pb2 import InvokeRequest
from penstock.v1.flow_pb2_grpc import FlowServiceStub
from penstock.v1.run_pb2 import FULL, SIMPLE, CancelRunRequest, Run, WatchRunRequest
from penstock.v1.run_pb2_grpc import RunServiceStub

PATIENCE_S = 90.0
"""How long a caller tries to get what was promised: longer than any fault lasts, with a lease after it."""
RETRY_S = 0.15
CALL_TIMEOUT_S = 90.0
MAY_COME_BACK = {"STORE_UNAVAILABLE", "DRAINING", "UNAVAILABLE", "CANCELLED"}
"""Why a reader comes back, and a request with a key is sent again: reasons of the service, and the codes of a
connection that breaks."""
STATUS_OF = {"RUN_CANCELED": "CANCELED", "RUN_INTERRUPTED": "INTERRUPTED", "FLOW_FAILED": "FAILED"}
"""How a run ended, by the reason that its caller is given."""


class Doors(Protocol):
    """Where the instances of a service can be called."""

    def channel(self, at: int) -> grpc.aio.Channel:
        """A channel to the instance that the number chooses."""


class Caller:
    """Makes one planned call, and all that belongs to it.

    Args:
        history: where it is written down.
    """

    def __init__(self, doors: Doors, history: History, planned: Planned) -> None:
        self._doors = doors
        self._history = history
        self._planned = planned
        self._until_s = time.monotonic() + PATIENCE_S
        self._stream: Reader | None = None
        self._accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def call(self) -> None:
        """Returns when everybody has seen the end, or cannot hope for it any more."""
        planned = self._planned
        others = [self._repeat(each) for each in planned.repeats]
        others += [self._watch_later(each) for each in planned.watchers]
        if planned.cancel is not None:
            others.append(self._cancel(planned.cancel))
        tasks = [asyncio.create_task(each) for each in others]
        try:
            await self._send(planned.at, planned.leaves_s)
        finally:
            if not self._accepted.done():
                await asyncio.wait(tasks[: len(planned.repeats)] or [asyncio.create_task(asyncio.sleep(0))])
            if not self._accepted.done():
                self._accepted.cancel()  # nobody will ever have a run
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _send(self, at: int, leaves_s: float | None = None) -> None:
        """Sends the request; with a key, until it is answered."""
        work = self._stream_once if self._planned.how is How.STREAM else self._invoke_once
        while True:
            request = Request(question=self._planned.question, session=self._planned.session, key=self._planned.key)
            request.sent_s = time.monotonic()
            self._history.requests.append(request)
            leaving = asyncio.create_task(work(request, at))
            done, _ = await asyncio.wait((leaving,), timeout=leaves_s)
            if not done:
                leaving.cancel()
                await asyncio.wait((leaving,))
                return
            leaving.result()
            again = self._planned.key and not request.run and request.error in MAY_COME_BACK
            if not again or time.monotonic() > self._until_s:
                return
            at += 1
            await asyncio.sleep(RETRY_S)

    async def _stream_once(self, request: Request, at: int) -> None:
        call = FlowServiceStub(self._doors.channel(at)).InvokeStream(
            self._message(), metadata=self._metadata(), timeout=CALL_TIMEOUT_S
        )
        reader = Reader(name=f"stream of {request.question} at {at}", simple=self._planned.simple)
        try:
            if run := await self._accepted_as(request, call):
                reader.run, self._stream = run, self._stream or reader
                self._history.readers.append(reader)
            await _read(reader, call)
        except grpc.RpcError as error:
            self._failed(request, error)
        except asyncio.CancelledError:
            reader.left = True
            raise
        finally:
            call.cancel()
        if reader.run:
            request.status = reader.events[-1].status if reader.events else ""
            if not request.error and not request.status:
                reader.problems.append("the stream ended without the run's end, and without an error")
            try:
                await self._resume(reader, at + 1)
            except asyncio.CancelledError:
                reader.left = True
                raise

    async def _invoke_once(self, request: Request, at: int) -> None:
        call = FlowServiceStub(self._doors.channel(at)).Invoke(
            self._message(), metadata=self._metadata(), timeout=CALL_TIMEOUT_S
        )
        try:
            await self._accepted_as(request, call)
            run: Run = await call
        except grpc.RpcError as error:
            self._failed(request, error)
            request.status = STATUS_OF.get(request.error, "") if request.run else ""
        else:
            if (status := Run.Status.Name(run.status)) in TERMINAL:
                request.status, request.answer = status, said(run)
        finally:
            call.cancel()

    async def _accepted_as(self, request: Request, call: Any) -> str:
        run = dict(await call.initial_metadata()).get("penstock-run-id", "")
        if run:
            request.run, request.accepted_s = run, time.monotonic()
            if not self._accepted.done():
                self._accepted.set_result(run)
        return str(run)

    async def _repeat(self, later: Later) -> None:
        await asyncio.sleep(later.after_s)
        await self._send(later.at)

    async def _watch_later(self, later: Later) -> None:
        run = await asyncio.shield(self._accepted)
        await asyncio.sleep(later.after_s)
        position = self._stream.position if self._stream is not None else 0
        after = max(0, position - later.back)
        reader = Reader(name=f"watch of {self._planned.question}", run=run, after=after, simple=later.simple)
        self._history.readers.append(reader)
        await self._resume(reader, later.at)

    async def _resume(self, reader: Reader, at: int) -> None:
        """Watches until the end was told, at one instance after the other."""
        while not (reader.events and reader.events[-1].kind == FINISHED):
            if time.monotonic() > self._until_s:
                reader.problems.append("gave up")
                return
            view = SIMPLE if reader.simple else FULL
            asked = WatchRunRequest(run=reader.run, after_sequence=reader.position, view=view)
            call = RunServiceStub(self._doors.channel(at)).WatchRun(asked, metadata=_metadata(), timeout=CALL_TIMEOUT_S)
            try:
                await _read(reader, call)
            except grpc.RpcError as error:
                if (why := reason(error)) not in MAY_COME_BACK:
                    reader.problems.append(f"WatchRun after {reader.position}: {why}: {error.details()}")
                    return
                await asyncio.sleep(RETRY_S)
            else:
                if not reader.events or reader.events[-1].kind != FINISHED:
                    reader.problems.append("WatchRun ended without the run's end, and without an error")
                    return
            finally:
                call.cancel()
            at += 1

    async def _cancel(self, later: Later) -> None:
        run = await asyncio.shield(self._accepted)
        await asyncio.sleep(later.after_s)
        at = later.at
        while time.monotonic() < self._until_s:
            cancel = Cancel(run=run, asked_s=time.monotonic())
            self._history.cancels.append(cancel)
            try:
                answer = await RunServiceStub(self._doors.channel(at)).CancelRun(
                    CancelRunRequest(run=run), metadata=_metadata(), timeout=CALL_TIMEOUT_S
                )
                cancel.returned_s, cancel.status = time.monotonic(), Run.Status.Name(answer.status)
                return
            except grpc.RpcError as error:
                cancel.returned_s, cancel.error = time.monotonic(), reason(error)
                at += 1
                await asyncio.sleep(RETRY_S)

    def _failed(self, request: Request, error: grpc.RpcError) -> None:
        request.error = reason(error)
        request.refused = not request.run and bool(PenstockError.of_rpc(error).reason)

    def _message(self) -> InvokeRequest:
        planned = self._planned
        message = InvokeRequest(flow=planned.flow)
        message.inputs.update({"question": planned.question, "tokens": planned.tokens, "pace_ms": planned.pace_ms})
        message.inputs["upstream"] = planned.cancel is not None
        message.options.background = planned.how is How.BACKGROUND
        message.options.on_busy = planned.on_busy  # type: ignore[assignment]
        if planned.simple and planned.how is How.STREAM:
            message.view = SIMPLE
        return message

    def _metadata(self) -> Sequence[tuple[str, str]]:
        sent = {"chat-session-id": self._planned.session, "idempotency-key": self._planned.key}
        return (*_metadata(), *((name, value) for name, value in sent.items() if value))


async def _read(reader: Reader, call: Any) -> None:
    async for response in call:
        reader.events += seen(response.events)


def reason(error: grpc.RpcError) -> str:
    """Why a call failed: the reason that the service gives; the code where it does not get to say."""
    failure = PenstockError.of_rpc(error)
    return failure.reason or failure.code.name


def _metadata() -> Sequence[tuple[str, str]]:
    return (("authorization", f"Bearer {TOKEN}"),)
