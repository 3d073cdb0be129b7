"""What becomes of the runs of an instance that died: those that executed end, those that waited wait here."""

from collections.abc import Mapping
from datetime import UTC, datetime

from penstock_server.errors import RETRY_AFTER_S, RunInterrupted
from penstock_server.flows.flow import Flow, NodeRecord, NodeStatus
from penstock_server.runs.events import NodeFinished, NodeStarted, OutputDelta, RunStatus
from penstock_server.runs.said import Said
from penstock_server.store.records import Ending, Orphan
from penstock_server.store.store import Store


class Recovery:
    """Ends runs whose owner died, with what they had said.

    Args:
        flows: the served flows by id.
    """

    def __init__(self, store: Store, flows: Mapping[str, Flow]) -> None:
        self._store = store
        self._flows = flows

    async def interrupt(self, orphan: Orphan) -> None:
        """Ends a run as INTERRUPTED. Raises StoreUnavailable."""
        record, flow = orphan.record, self._flows.get(orphan.record.flow)
        said, nodes = await self._read(record.run, Said(flow.spec.streaming_outputs if flow else None))
        now = datetime.now(UTC)
        text = "the server that executed the run ended before the run did; what it had said is kept"
        await self._store.turns.finish(
            Ending(
                run=record.run,
                session=record.session,
                accepted=orphan.accepted,
                status=RunStatus.INTERRUPTED,
                outputs=said.outputs,
                text_of=flow.spec.chat_output if flow and orphan.accepted.turn else "",
                flow=record.flow,
                user=record.user,
                error=RunInterrupted(text, metadata={"run": record.run}, retry_after_s=RETRY_AFTER_S),
                nodes=nodes,
                input_tokens=sum(node.input_tokens for node in nodes),
                output_tokens=sum(node.output_tokens for node in nodes),
                start_time=record.start_time,
                end_time=now,
                last_sequence=orphan.sequence_reserved + 1,
            )
        )

    async def _read(self, run: str, said: Said) -> tuple[Said, list[NodeRecord]]:
        """What the run's log says: its outputs, and its nodes."""
        nodes: dict[str, NodeRecord] = {}
        position = 0
        while (page := await self._store.runs.log(run, position)) is not None and page.events:
            for event in page.events:
                if isinstance(event, OutputDelta):
                    said.add(event.outputs)
                elif isinstance(event, NodeStarted):
                    nodes[event.node] = _cut_off(event)
                elif isinstance(event, NodeFinished):
                    nodes[event.node.node] = event.node
            position = page.events[-1].sequence
        return said, list(nodes.values())


def _cut_off(event: NodeStarted) -> NodeRecord:
    return NodeRecord(node=event.node, status=NodeStatus.CANCELED, start_time=event.start_time)
