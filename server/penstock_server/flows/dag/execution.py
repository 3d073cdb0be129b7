"""One execution of a graph: every node starts as soon as what it needs is there."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from contextvars import Context, copy_context
from inspect import isawaitable

from penstock_server.flows.dag.attempts import Attempt, attempted
from penstock_server.flows.dag.graph import OutputDeclaration
from penstock_server.flows.dag.noderun import NodeRun
from penstock_server.flows.dag.plan import Plan, PlannedNode
from penstock_server.flows.dag.strand import Strand
from penstock_server.flows.dag.values import BYPASSED, Values
from penstock_server.flows.failures import Translator
from penstock_server.flows.flow import Recorder
from penstock_server.flows.jobs import Job, report_lost
from penstock_server.flows.outputs import Outputs
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads
from penstock_server.flows.usercode import gathered, is_stream, joined, run_stream

PROGRESS_S = 0.01
"""How long it may take until the recorder is told that a thread has begun a node."""


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
        self._recorder = recorder
        self._translator = translator
        self._threads = threads
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._outputs = Outputs(recorder, translator)
        self._values = Values(arguments)
        self._results: dict[str, object] = {}
        self._waiting = set(plan.nodes)
        self._left = set(plan.nodes)
        self._runs: dict[str, NodeRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._strands: dict[Strand, Job] = {}
        self._progress: asyncio.TimerHandle | None = None
        self._ended = self._loop.create_future()
        self._failure: BaseException | None = None
        self._is_stopping = False

    async def run(self) -> dict[str, object]:
        """Executes every node and returns the outputs as JSON values.

        Raises:
            Failure: a node failed, or an output is no JSON value; the nodes that still ran were cancelled.
        """
        try:
            if not self._takes_outputs(self._plan.given):
                await self._outputs.room()
            self._start_ready(self._plan.nodes)
            if self._left:
                await self._ended
        finally:
            await self._stop()
        if self._failure is not None:
            raise self._failure
        results = self._outputs.json({name: self._results[name] for name in self._plan.sources})
        if not self._plan.streaming:
            self._outputs.tell(results)
        return results

    def _start_ready(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._waiting and self._values.has_all(self._plan.nodes[name].needs):
                if name in self._plan.strands:
                    self._start_strand(self._plan.strands[name])
                else:
                    self._waiting.discard(name)
                    self._spawn(self._execute(self._plan.nodes[name]), name, self._context.copy())

    def _spawn(self, work: Coroutine[object, object, None], node: str, context: Context) -> None:
        task = self._loop.create_task(work, name=f"node {node}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start_strand(self, nodes: tuple[PlannedNode, ...]) -> None:
        for node in nodes:
            self._waiting.discard(node.name)
        log_bytes_max = self._settings.node_log_bytes_max
        strand = Strand(nodes, self._values, self._context, self._translator, log_bytes_max)
        self._strands[strand] = self._threads.start(strand.execute, lambda: self._strand_ended(strand))
        if self._progress is None:
            self._progress = self._loop.call_later(PROGRESS_S, self._tell_progress)

    def _tell_progress(self) -> None:
        for strand in self._strands:
            for run in strand.runs:
                run.tell(self._recorder)
        self._progress = self._loop.call_later(PROGRESS_S, self._tell_progress) if self._strands else None

    def _strand_ended(self, strand: Strand) -> None:
        if self._strands.pop(strand, None) is None:  # the execution has stopped, and has told what there was to tell
            if strand.failure is not None:
                report_lost(strand.failure.__cause__ or strand.failure)
            return
        for run in strand.runs:
            run.tell(self._recorder)
        for node, value in zip(strand.nodes, strand.values, strict=False):
            self._succeeded(node, value)
        if strand.failure is not None:
            self._fail(strand.failure)
        elif strand.rest is not None:
            node, *later = strand.nodes[len(strand.values) :]
            self._waiting.update(each.name for each in later)
            self._runs[node.name] = strand.runs[-1]
            self._spawn(self._finish(node, strand.rest), node.name, strand.rest_context)

    async def _execute(self, node: PlannedNode) -> None:
        """The task of one node."""
        run = self._runs[node.name] = NodeRun(node.name, self._settings.node_log_bytes_max)
        run.tell(self._recorder)
        await self._recorded(node, run, self._attempted(node, run))

    async def _finish(self, node: PlannedNode, result: object) -> None:
        """The task of a node that a thread has begun."""
        await self._recorded(node, self._runs[node.name], self._whole(result))

    async def _recorded(self, node: PlannedNode, run: NodeRun, work: Coroutine[object, object, object]) -> None:
        """Tells how the work ends; it raises nothing, for nobody awaits it."""
        try:
            value = await work
        except GeneratorExit:
            raise
        except BaseException as raised:  # SystemExit in flow code is the run's failure, not the server's end
            self._raised(node, run, raised)
        else:
            run.bypassed() if value is BYPASSED else run.succeeded(value)
            if self._runs.pop(node.name, None) is not None:
                run.tell(self._recorder)
            if not self._is_stopping:
                self._succeeded(node, value)

    def _raised(self, node: PlannedNode, run: NodeRun, raised: BaseException) -> None:
        is_known = self._runs.pop(node.name, None) is not None
        if self._is_stopping:
            if is_known:
                run.cancel(self._recorder)
            if not isinstance(raised, asyncio.CancelledError):
                report_lost(raised)
            return
        failure = self._translator.failure(raised, node.name)
        run.failed(failure)
        run.tell(self._recorder)
        self._fail(failure)

    async def _attempted(self, node: PlannedNode, run: NodeRun) -> object:
        if self._values.bypasses(node):
            return BYPASSED
        arguments = self._values.bound(node)
        run.describe(arguments)
        return await attempted(node.name, node.policy, run.log, lambda attempt: self._value(node, arguments, attempt))

    async def _value(self, node: PlannedNode, arguments: Mapping[str, object], attempt: Attempt) -> object:
        result = await node.node.call(arguments)
        return await self._streamed(node, result, attempt) if node.streamed else await self._whole(result)

    async def _whole(self, result: object) -> object:
        if isawaitable(result):
            result = await result
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

    def _succeeded(self, node: PlannedNode, value: object) -> None:
        self._values.put(node.name, value)
        self._left.discard(node.name)
        try:
            outputs, lost = (node.outputs, ()) if value is not BYPASSED else self._lost(node)
            has_room = not outputs or self._takes_outputs(outputs, node.name)
            if lost:
                has_room = self._tells(dict.fromkeys(lost))
            if has_room or not self._left:
                self._follow(node)
            else:
                self._spawn(self._follow_later(node), node.name, self._context.copy())
        except Exception as error:  # an output is no JSON, or too large; or the flow has been closed
            self._fail(error)

    def _lost(self, node: PlannedNode) -> tuple[tuple[OutputDeclaration, ...], tuple[str, ...]]:
        """The outputs that a node is bypassed for, and those that would have been its chunks: no other gives them."""
        gone = {name for name, nodes in self._plan.sources.items() if self._values.bypassed(nodes)}
        outputs = tuple(output for output in node.outputs if output.name in gone)
        return outputs, tuple(name for name in node.streamed if name in gone)

    def _follow(self, node: PlannedNode) -> None:
        self._start_ready(node.feeds)
        if not self._left and not self._ended.done():
            self._ended.set_result(None)

    async def _follow_later(self, node: PlannedNode) -> None:
        try:
            await self._outputs.room()
            if not self._is_stopping:
                self._follow(node)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None and not self._is_stopping:
            self._failure = error
        if not self._ended.done():
            self._ended.set_result(None)

    def _takes_outputs(self, outputs: Iterable[OutputDeclaration], node: str = "") -> bool:
        """Makes JSON of outputs that are known now, and tells them if any output of the flow streams.

        Returns whether there is room for more.
        """
        values: dict[str, object] = {}
        for output in outputs:
            try:
                values[output.name] = self._values.found(output.binding_of(node))
            except LookupError as error:
                raise self._translator.of_output(output.name, error.args[0], node) from None
        return not values or self._tells(self._outputs.json(values, node))

    def _tells(self, results: Mapping[str, object]) -> bool:
        self._results.update(results)
        return not self._plan.streaming or self._outputs.tell(results)

    async def _stop(self) -> None:
        """Ends the nodes that still run, and waits a while for their code to clean up."""
        self._is_stopping = True
        if self._progress is not None:
            self._progress.cancel()
        strands, self._strands = self._strands, {}
        for strand, job in strands.items():
            strand.is_stopped = job.is_abandoned = True
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=self._settings.cancel_wait_s)
        finally:
            runs = [run for strand in strands for run in strand.runs]
            while self._runs:
                runs.append(self._runs.popitem()[1])
            for run in runs:
                run.cancel(self._recorder)
