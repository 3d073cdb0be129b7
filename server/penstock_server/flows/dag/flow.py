"""Flows that are a folder with a `flow.dag.yaml`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from penstock_server.flows import document, snapshot
from penstock_server.flows.callable import CHAT_HISTORY, CHAT_INPUT, CHAT_OUTPUT
from penstock_server.flows.dag import graph as graphs
from penstock_server.flows.dag import plan as plans
from penstock_server.flows.dag.execution import Execution
from penstock_server.flows.dag.graph import Graph
from penstock_server.flows.dag.nodes import registry
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.dag.plan import Plan
from penstock_server.flows.document import Problems
from penstock_server.flows.failures import Translator, pass_cancellation
from penstock_server.flows.flow import FlowKind, FlowSpec, Recorder
from penstock_server.flows.inputs import MISSING, Input, Inputs
from penstock_server.flows.intake import Intake
from penstock_server.flows.media.defaults import with_defaults
from penstock_server.flows.modules import FlowModules
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads


class DagFlow:
    """A flow whose every execution executes the nodes of a graph."""

    def __init__(
        self,
        *,
        spec: FlowSpec,
        plan: Plan,
        inputs: Inputs,
        modules: FlowModules,
        threads: Threads,
        settings: FlowSettings,
    ) -> None:
        self.spec = spec
        self._plan = plan
        self._modules = modules
        self._threads = threads.share(self)
        self._settings = settings
        self._translator = Translator(spec.flow, error_text=settings.error_text)
        self._intake = Intake(inputs, self._threads, self._translator, settings)

    async def arguments(self, inputs: Mapping[str, object]) -> dict[str, object]:
        """See `Flow.arguments`."""
        return await self._intake.arguments(inputs)

    def bind(self, inputs: Mapping[str, object]) -> dict[str, object]:
        """See `Flow.bind`."""
        return self._intake.bind(inputs)

    async def execute(self, arguments: Mapping[str, object], recorder: Recorder) -> dict[str, object]:
        """See `Flow.execute`."""
        execution = Execution(
            self._plan,
            arguments,
            recorder,
            translator=self._translator,
            threads=self._threads,
            settings=self._settings,
        )
        try:
            return await execution.run()
        except BaseException as error:
            pass_cancellation(error)
            raise self._translator.failure(error)  # noqa: B904 - its cause is the user's exception

    async def close(self) -> None:
        """See `Flow.close`."""
        await self._threads.close(self, self._settings.close_wait_s)
        self._modules.close()


def load(path: Path, file: str, *, threads: Threads, settings: FlowSettings) -> DagFlow:
    """Loads a flow and executes the files of its Python nodes.

    Args:
        path: the `flow.dag.yaml`, absolute.
        file: its name in problems.
        threads: where its blocking code executes.
        settings: the limits.

    Raises:
        FlowLoadError: it cannot be served.
    """
    folder = path.parent
    problems = Problems(file)
    yaml = document.read(path, file, settings.document_bytes_max)
    graph = graphs.read(yaml, problems)
    inputs = with_defaults(graph.inputs, yaml, folder, settings.media_bytes_max, problems)
    graph = replace(graph, inputs=inputs)
    modules = FlowModules(folder)
    try:
        workshop = Workshop(folder=folder, modules=modules, threads=threads, problems=problems)
        made = {node.name: registry.make(node, workshop) for node in graph.nodes}
        problems.check()
        plan = plans.make(graph, {name: node for name, node in made.items() if node is not None})
    except BaseException:
        modules.close()
        raise
    version = snapshot.of_folder(folder, settings.snapshot_bytes_max)
    spec, checked = _described(graph, plan, folder.name, version)
    return DagFlow(spec=spec, plan=plan, inputs=checked, modules=modules, threads=threads, settings=settings)


def _described(graph: Graph, plan: Plan, flow: str, version: str) -> tuple[FlowSpec, Inputs]:
    names = {each.name for each in graph.inputs}
    is_chat = bool(graph.chat_input) or {CHAT_INPUT, CHAT_HISTORY} <= names
    history = (graph.chat_history or (CHAT_HISTORY if CHAT_HISTORY in names else "")) if is_chat else ""
    inputs = Inputs([_optional(each) if each.name == history else each for each in graph.inputs])
    spec = FlowSpec(
        flow=flow,
        kind=FlowKind.CHAT if is_chat else FlowKind.STANDARD,
        description=graph.description,
        input_schema=inputs.schema,
        output_schema=plan.output_schema,
        streaming_outputs=plan.streaming,
        snapshot=version,
        chat_input=(graph.chat_input or CHAT_INPUT) if is_chat else "",
        chat_output=_chat_output(graph) if is_chat else "",
        chat_history=history,
    )
    return spec, inputs


def _optional(declared: Input) -> Input:
    """The history, which the server gives: callers may leave it out."""
    return replace(declared, default=[]) if declared.default is MISSING else declared


def _chat_output(graph: Graph) -> str:
    names = [output.name for output in graph.outputs]
    if graph.chat_output or CHAT_OUTPUT in names:
        return graph.chat_output or CHAT_OUTPUT
    return names[0] if len(names) == 1 else ""
