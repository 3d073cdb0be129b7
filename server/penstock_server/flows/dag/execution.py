"""One execution of a graph: every node starts as soon as what it needs is there."""

import asyncio
import copy
from collections.abc import Iterable, Mapping

from penstock_server.errors import FlowFailed
from penstock_server.flows.dag.attempts import Attempt, attempted
from penstock_server.flows.dag.graph import Binding, OutputDeclaration
from penstock_server.flows.dag.noderun import NodeRun
from penstock_server.flows.dag.plan import Plan, PlannedNode
from penstock_server.flows.failures import Translator
from penstock_server.flows.flow import Recorder
from penstock_server.flows.outputs import Outputs
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads, report_lost
from penstock_server.flows.usercode import gathered, is_stream, joined, run_stream

BYPASSED = object()
"""Stands for the value of a node that was bypassed."""


class Execution:
    """Executes a plan once."""

    def __init__(
        self,
        plan: Plan,
        arguments: Mapping[str, object],
        recorder: Recorder,
        *,
        translator: Translator,
        threads: Threads,
        settings: FlowSettings,
    ) -> None:
        self._plan = plan
        self._arguments = arguments
        self._recorder = recorder
        self._translator = translator
        self._threads = threads
        self._settings = settings
        self._outputs = Outputs(recorder, translator)
        self._values: dict[str, object] = {}
        self._results: dict[str, object] = {}
        self._waiting = set(plan.nodes)
        self._left = set(plan.nodes)
        self._running: dict[str, NodeRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self._is_stopping = False

    async def run(self) -> dict[str, object]:
        """Executes every node and returns the outputs as JSON values.

        Raises:
            Failure: a node failed, or an output is no JSON value; the nodes that still ran were cancelled.
        """
        try:
            await self._take_outputs(self._plan.given)
            self._start_ready(self._plan.nodes)
            if self._left:
                await self._ended.wait()
        finally:
            await self._stop()
        if self._failure is not None:
            raise self._failure
        results = self._outputs.json({name: self._results[name] for name in self._plan.output_names})
        if not self._plan.streaming:
            self._outputs.tell(results)
        return results

    def _start_ready(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._waiting and self._plan.nodes[name].needs <= self._values.keys():
                self._waiting.discard(name)
                task = asyncio.create_task(self._execute(self._plan.nodes[name]), name=f"node {name}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _execute(self, node: PlannedNode) -> None:
        """The task of one node; it raises nothing, for nobody awaits it."""
        try:
            value = await self._recorded(node)
            if not self._is_stopping:
                await self._succeeded(node, value)
        except GeneratorExit:
            raise
        except BaseException as error:  # SystemExit in flow code is the run's failure, not the server's end
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not self._is_stopping:
            self._failure = error
        elif not isinstance(error, asyncio.CancelledError):
            report_lost(error)
        self._ended.set()

    async def _recorded(self, node: PlannedNode) -> object:
        run = self._running[node.name] = NodeRun(node.name, self._recorder, self._settings.node_log_bytes_max)
        try:
            if self._is_bypassed(node):
                self._running.pop(node.name).bypassed()
                return BYPASSED
            arguments = self._bound(node)
            run.describe(arguments)
            value = await attempted(
                node.name, node.policy, run.log, lambda attempt: self._value(node, arguments, attempt)
            )
        except GeneratorExit:
            raise
        except BaseException as raised:
            if self._running.pop(node.name, None) is None:
                raise
            if self._is_stopping:
                run.canceled()
                raise
            failure = self._translator.failure(raised, node.name)
            run.failed(failure)
            raise failure  # noqa: B904 - its cause is the user's exception
        if self._running.pop(node.name, None) is not None:
            run.succeeded(value)
        return value

    def _is_bypassed(self, node: PlannedNode) -> bool:
        """Whether the node does not run: by its own condition, or because nothing that its inputs refer to has run."""
        activate = node.activate
        if activate is None:
            return bool(node.sources) and all(self._values[name] is BYPASSED for name in node.sources)
        if activate.when.node and self._values[activate.when.node] is BYPASSED:
            return True
        try:
            return bool(self._found(activate.when) != activate.value)
        except LookupError as error:
            raise FlowFailed(f"node `{node.name}`: `activate`: {error.args[0]}") from None

    def _bound(self, node: PlannedNode) -> dict[str, object]:
        arguments: dict[str, object] = {}
        for name, binding in node.inputs.items():
            if binding.node and self._values[binding.node] is BYPASSED:
                if name not in node.node.optional:
                    arguments[name] = None
                continue
            try:
                arguments[name] = self._found(binding)
            except LookupError as error:
                raise FlowFailed(f"node `{node.name}`: input `{name}`: {error.args[0]}") from None
        return arguments

    def _found(self, binding: Binding) -> object:
        """What a binding gives, None where its node was bypassed.

        Raises:
            LookupError: there is nothing at the place that it refers to.
        """
        reference = binding.reference
        if reference is None:
            return copy.deepcopy(binding.literal)  # the node's code may change it
        if not reference.node:
            return reference.of(self._arguments[reference.input])
        value = self._values[reference.node]
        return None if value is BYPASSED else reference.of(value)

    async def _value(self, node: PlannedNode, arguments: Mapping[str, object], attempt: Attempt) -> object:
        result = await node.node.call(arguments)
        if node.streamed:
            return await self._streamed(node, result, attempt)
        return await gathered(result, self._threads) if is_stream(result) else result

    async def _streamed(self, node: PlannedNode, result: object, attempt: Attempt) -> object:
        stream = self._outputs.stream(node.streamed, node.name)
        chunks: list[object] = []

        def put(chunk: object) -> bool:
            if self._is_stopping:  # the node swallowed its cancellation
                raise asyncio.CancelledError
            attempt.is_final = True
            chunks.append(chunk)
            return stream.put(chunk)

        await run_stream(result, self._threads, put, lambda: attempt.outside(self._outputs.room()))
        self._results.update(stream.result())
        return joined(chunks) if is_stream(result) else result

    async def _succeeded(self, node: PlannedNode, value: object) -> None:
        self._values[node.name] = value
        self._left.discard(node.name)
        await self._take_outputs(node.outputs, node.name)
        if value is BYPASSED and node.streamed:
            await self._tell(dict.fromkeys(node.streamed))
        self._start_ready(node.feeds)
        if not self._left:
            self._ended.set()

    async def _take_outputs(self, outputs: Iterable[OutputDeclaration], node: str = "") -> None:
        """Makes JSON of outputs that are known now, and tells them if any output of the flow streams."""
        values: dict[str, object] = {}
        for output in outputs:
            try:
                values[output.name] = self._found(output.binding)
            except LookupError as error:
                raise self._translator.of_output(output.name, error.args[0], node) from None
        await self._tell(self._outputs.json(values, node))

    async def _tell(self, results: Mapping[str, object]) -> None:
        self._results.update(results)
        if results and self._plan.streaming and not self._outputs.tell(results) and self._left:
            await self._outputs.room()

    async def _stop(self) -> None:
        """Ends the nodes that still run, and waits a while for their code to clean up."""
        self._is_stopping = True
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=self._settings.cancel_wait_s)
        finally:
            while self._running:
                self._running.popitem()[1].canceled()
