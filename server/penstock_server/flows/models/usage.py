"""Where the tokens of models are counted: in the record of the node that is executed."""

from contextvars import ContextVar

from penstock_server.flows.flow import NodeRecord
from penstock_server.flows.models.chat import Usage

current_record: ContextVar[NodeRecord] = ContextVar("penstock_node_record")
"""The record of the node in whose task, or thread, the current code executes."""


def count(usage: Usage) -> None:
    """Adds to the current node's tokens; where no node is executed, nothing counts them."""
    record = current_record.get(None)
    if record is not None:
        record.input_tokens += usage.input_tokens
        record.output_tokens += usage.output_tokens
