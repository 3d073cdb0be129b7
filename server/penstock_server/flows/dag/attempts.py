"""The attempts of one node: each within its time, and another one after an error that is worth it."""

import asyncio
from collections.abc import Awaitable, Callable

from penstock_server.errors import FlowFailed, ModelRefused
from penstock_server.flows.dag.policy import Policy
from penstock_server.flows.failures import pass_cancellation
from penstock_server.flows.logs import NodeLog
from penstock_server.flows.threads import CodeRaised


class Attempt:
    """One attempt, while it goes on.

    Attributes:
        is_final: whether an error in it is the last word, because callers have already seen some of its result.
    """

    def __init__(self, deadline: asyncio.Timeout | None) -> None:
        self.is_final = False
        self._deadline = deadline

    async def outside(self, wait: Awaitable[None]) -> None:
        """Waits for somebody else, without that this counts as the attempt's time."""
        deadline = self._deadline
        if deadline is None or (due := deadline.when()) is None:
            await wait
            return
        loop = asyncio.get_running_loop()
        left_s = due - loop.time()
        deadline.reschedule(None)
        try:
            await wait
        finally:
            if not deadline.expired():
                deadline.reschedule(loop.time() + left_s)


async def attempted(node: str, policy: Policy, log: NodeLog, execute: Callable[[Attempt], Awaitable[object]]) -> object:
    """Returns what an attempt returns; as many are made as the policy allows.

    Raises:
        FlowFailed: the last attempt took longer than `timeout_s`. Code in a thread goes on all the same, unheeded.
        BaseException: the last attempt raised it.
    """
    number = 1
    while True:
        deadline = None if policy.timeout_s is None else asyncio.timeout(policy.timeout_s)
        attempt = Attempt(deadline)
        try:
            if deadline is None:
                return await execute(attempt)
            async with deadline:
                return await execute(attempt)
        except BaseException as raised:
            pass_cancellation(raised)
            error = raised
        timed_out = deadline is not None and deadline.expired()
        if attempt.is_final or not _is_worth(policy, error, number):
            if timed_out:
                raise FlowFailed(f"node `{node}` took longer than {policy.timeout_s:g} s (timeout_s)") from None
            raise error
        pause_s = policy.retry.pause_s(number)
        said = "it took too long" if timed_out else type(_raised(error)).__name__
        log.write(f"attempt {number} failed: {said}; the next one follows in {pause_s:.1f} s\n")
        await asyncio.sleep(pause_s)
        number += 1


def _is_worth(policy: Policy, error: BaseException, number: int) -> bool:
    raised = _raised(error)
    return not isinstance(raised, ModelRefused) and policy.retry.is_worth(raised, number)


def _raised(error: BaseException) -> BaseException:
    return error.error if isinstance(error, CodeRaised) else error
