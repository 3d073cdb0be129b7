"""Flows that are a folder with a `flow.dag.yaml`."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from penstock_server.flows import document
from penstock_server.flows.dag import plan as plans
from penstock_server.flows.dag import reader
from penstock_server.flows.dag.execution import Execution
from penstock_server.flows.dag.graph import Graph
from penstock_server.flows.dag.nodes import registry
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.dag.plan import Plan
from penstock_server.flows.document import Problems
from penstock_server.flows.failures import Translator, pass_cancellation
from penstock_server.flows.flow import FlowKind, FlowSpec, HistoryForm, Recorder
from penstock_server.flows.folder import FlowFolder
from penstock_server.flows.inputs import MISSING, Input, Inputs
from penstock_server.flows.intake import Intake
from penstock_server.flows.knowledge.knowledge import Knowledge
from penstock_server.flows.media.defaults import with_defaults
from penstock_server.flows.models.models import Models
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
        folder: FlowFolder,
        models: Models,
        knowledge: Knowledge,
        threads: Threads,
        settings: FlowSettings,
    ) -> None:
        self.spec = spec
        self._plan = plan
        self._folder = folder
        self._models = models
        self._knowledge = knowledge
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
        await self._models.close()
        await asyncio.to_thread(self._knowledge.close)
        self._folder.close()


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
    problems = Problems(file)
    yaml = document.read(path, file, settings.document_bytes_max)
    graph = reader.read(yaml, problems)
    folder = FlowFolder(path.parent, yaml, problems, settings)
    try:
        inputs = with_defaults(graph.inputs, yaml, folder.path, settings.media_bytes_max, problems)
        graph = replace(graph, inputs=inputs)
        models = Models(silence_timeout_s=settings.model_timeout_s)
        workshop = Workshop(
            folder=folder.path,
            modules=folder.modules,
            threads=threads,
            problems=problems,
            connections=folder.connections,
            models=models,
            knowledge=Knowledge(Path(settings.data), folder.connections, models, threads),
        )
        made = {node.name: registry.make(node, workshop) for node in graph.online_nodes}
        plan = plans.make(graph, {name: node for name, node in made.items() if node is not None}, problems)
        spec, checked = _described(graph, plan, path.parent.name, folder.snapshot)
    except BaseException:
        folder.close()
        raise
    return DagFlow(
        spec=spec,
        plan=plan,
        inputs=checked,
        folder=folder,
        models=workshop.models,
        knowledge=workshop.knowledge,
        threads=threads,
        settings=settings,
    )


def _described(graph: Graph, plan: Plan, flow: str, version: str) -> tuple[FlowSpec, Inputs]:
    declared = [_optional(each) if each.name == graph.chat_history else each for each in graph.inputs]
    inputs = Inputs(declared, others=graph.allow_extra_inputs)
    spec = FlowSpec(
        flow=flow,
        kind=FlowKind.CHAT if graph.chat_input else FlowKind.STANDARD,
        description=graph.description,
        input_schema=inputs.schema,
        output_schema=plan.output_schema,
        streaming_outputs=plan.streaming,
        snapshot=version,
        chat_input=graph.chat_input,
        chat_output=graph.chat_output,
        chat_history=graph.chat_history,
        history_form=HistoryForm.ROUNDS,
        history_rounds_max=graph.history_rounds_max,
    )
    return spec, inputs


def _optional(declared: Input) -> Input:
    """The history, which the server gives: callers may leave it out."""
    return replace(declared, default=[]) if declared.default is MISSING else declared
