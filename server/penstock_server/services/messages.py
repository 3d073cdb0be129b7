"""Runs, events and flows as the wire's messages."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status

from penstock.v1 import flow_pb2, run_pb2
from penstock.values import to_struct, to_value
from penstock_server.errors import Failure, to_status
from penstock_server.flows.flow import FlowSpec, NodeRecord, NodeStatus
from penstock_server.runs.events import Event, NodeFinished, NodeStarted, OutputDelta, RunFinished, RunStarted
from penstock_server.runs.run import Run
from penstock_server.services.times import write_time
from penstock_server.store.records import MessageRecord, RunRecord

M = TypeVar("M", flow_pb2.InvokeStreamResponse, run_pb2.WatchRunResponse)


def flow_message(spec: FlowSpec) -> flow_pb2.Flow:
    """A flow as callers see it."""
    message = flow_pb2.Flow(
        flow=spec.flow,
        kind=flow_pb2.Flow.Kind.Value(spec.kind.value),
        description=spec.description,
        streaming_outputs=spec.streaming_outputs,
        snapshot=spec.snapshot,
        labels=spec.labels,
        chat_input=spec.chat_input,
        chat_output=spec.chat_output,
        chat_history=spec.chat_history,
    )
    to_struct(spec.input_schema, message.input_schema)
    to_struct(spec.output_schema, message.output_schema)
    return message


def run_message(run: Run | RunRecord, inputs: Struct | None = None) -> run_pb2.Run:
    """A run as it stands.

    Args:
        inputs: the run's inputs, where they are at hand as the caller sent them.
    """
    message = run_head(run)
    if inputs is not None:
        message.inputs.CopyFrom(inputs)
    else:
        to_struct(run.inputs, message.inputs)
    _write_outputs(run.outputs, message.outputs)
    for record in run.nodes:
        _write_node(record, message.nodes.add())
    return message


def run_head(run: Run | RunRecord) -> run_pb2.Run:
    """A run without its inputs, outputs and nodes."""
    message = run_pb2.Run(
        run=run.run,
        flow=run.flow,
        session=run.session,
        user=run.user,
        status=run.status.value,  # type: ignore[arg-type]  # the numbers are the contract's
        snapshot=run.snapshot,
    )
    write_time(run.create_time, message.create_time)
    write_time(run.start_time, message.start_time)
    write_time(run.end_time, message.end_time)
    if run.error is not None:
        _write_failure(run.error, message.error)
    write_usage(run, message.usage)
    return message


def write_events(events: Iterable[Event], message: M) -> M:
    """Adds a batch of events to a message of a stream, and returns it."""
    add = message.events.add
    for event in events:
        _write_event(event, add())
    return message


def write_usage(source: Run | RunRecord | RunFinished | NodeRecord | MessageRecord, target: run_pb2.Usage) -> None:
    """Sets what models used, where that is known."""
    tokens = source.input_tokens, source.output_tokens
    if tokens != (0, 0):
        target.input_tokens, target.output_tokens = tokens


def _write_event(event: Event, target: run_pb2.RunEvent) -> None:
    target.sequence = event.sequence
    if isinstance(event, OutputDelta):
        _write_outputs(event.outputs, target.output_delta.outputs)
    elif isinstance(event, RunStarted):
        target.run_started.run = event.run
        target.run_started.flow = event.flow
        target.run_started.session = event.session
        write_time(event.create_time, target.run_started.create_time)
    elif isinstance(event, NodeStarted):
        target.node_started.node = event.node
        write_time(event.start_time, target.node_started.start_time)
    elif isinstance(event, NodeFinished):
        _write_node(event.node, target.node_finished.node)
    elif isinstance(event, RunFinished):
        _write_finish(event, target.run_finished)


def _write_outputs(outputs: Mapping[str, object], target: Struct) -> None:
    if len(outputs) == 1:
        # A piece of text for one output: what nearly every event of a stream holds.
        [(name, chunk)] = outputs.items()
        if chunk.__class__ is str:
            target.fields[name].string_value = chunk
            return
    target.SetInParent()
    to_struct(outputs, target)


def _write_finish(event: RunFinished, target: run_pb2.RunFinished) -> None:
    target.run = event.run
    target.status = event.status.value  # type: ignore[assignment]  # the numbers are the contract's
    _write_failure(event.error, target.error)
    write_usage(event, target.usage)
    write_time(event.end_time, target.end_time)
    if event.lost_after is not None:
        target.lost_after = event.lost_after


def _write_node(record: NodeRecord, target: run_pb2.NodeRun) -> None:
    target.node = record.node
    target.status = _NODE_STATUSES[record.status]
    inputs = target.inputs
    inputs.SetInParent()
    to_struct(record.inputs, inputs)
    if record.end_time is not None:
        to_value(record.output, target.output)
        write_time(record.end_time, target.end_time)
    if record.logs:
        target.logs = record.logs
    if record.error is not None:
        _write_failure(record.error, target.error)
    if record.input_tokens or record.output_tokens:
        write_usage(record, target.usage)
    write_time(record.start_time, target.start_time)


def _write_failure(failure: Failure | None, target: Status) -> None:
    if failure is not None:
        target.CopyFrom(to_status(failure))


_NODE_STATUSES = {status: run_pb2.NodeRun.Status.Value(status.value) for status in NodeStatus}
"""The contract's numbers; protobuf looks a name up in Python, and an answer holds one for each node."""
