"""Strands: nodes of blocking code that follow one another, executed in one thread.

A thread takes longer to be woken than most nodes take. Where a node is the only one that another one waits for, the
thread of the first goes on with the second.
"""

from collections.abc import Sequence
from contextvars import Context

from penstock_server.flows.dag.noderun import NodeRun
from penstock_server.flows.dag.plan import PlannedNode
from penstock_server.flows.dag.values import BYPASSED, Values
from penstock_server.flows.failures import Translator
from penstock_server.flows.usercode import is_whole


class Strand:
    """One execution of a strand.

    Attributes:
        nodes: its nodes, in order.
        runs: those that have begun. The thread adds to it, and the event loop reads it.
        values: what those that have ended returned, or `BYPASSED`.
        rest: what the last one returned, where that is still to be awaited, or run; None elsewhere.
        rest_context: the context in which that is to be done.
        failure: why the last one failed.
        is_stopped: whether no further node is to begin.
    """

    def __init__(
        self, nodes: Sequence[PlannedNode], values: Values, context: Context, translator: Translator, log_bytes_max: int
    ) -> None:
        self.nodes = nodes
        self.runs: list[NodeRun] = []
        self.values: list[object] = []
        self.rest: object = None
        self.rest_context = context
        self.failure: BaseException | None = None
        self.is_stopped = False
        self._known = values if len(nodes) == 1 else values.copy()
        self._context = context
        self._translator = translator
        self._log_bytes_max = log_bytes_max

    def execute(self) -> None:
        """Executes the nodes, up to one that fails or cannot be finished here. Raises nothing."""
        for node in self.nodes:
            context = self._context.copy()
            if self.is_stopped or not context.run(self._execute, node):
                self.rest_context = context
                break

    def _execute(self, node: PlannedNode) -> bool:
        """Executes one node, and says whether the next one may follow."""
        run = NodeRun(node.name, self._log_bytes_max)
        self.runs.append(run)
        try:
            value = self._value(node, run)
            if not is_whole(value):
                self.rest = value
                return False
            run.bypassed() if value is BYPASSED else run.succeeded(value)
        except BaseException as raised:  # SystemExit in flow code is the run's failure, not the server's end
            failure = self._translator.failure(raised, node.name)
            run.failed(failure)
            self.failure = failure
            return False
        self.values.append(value)
        if node is not self.nodes[-1]:
            self._known.put(node.name, value)
        return True

    def _value(self, node: PlannedNode, run: NodeRun) -> object:
        if self._known.bypasses(node) or node.blocking is None:
            return BYPASSED
        arguments = self._known.bound(node)
        run.describe(arguments)
        return node.blocking.execute(arguments)
