"""The ways in which a client reaches a service; every case of the contract is run through each."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FLOWS = tuple(
    f"flows:{name}"
    for name in (
        "echo", "types", "anything", "count", "count_in_a_thread", "chat", "chat_raises", "chat_slow", "who", "raises",
        "raises_late", "refuses", "cancels_itself", "cancels_its_task", "never", "endless", "exits", "not_json",
        "not_text",
    )
)  # fmt: skip
"""The served flows; `echo` is the default."""
LIMITS = {
    "PENSTOCK_MESSAGE_BYTES_MAX": "65536",
    "PENSTOCK_BODY_BYTES_MAX": "65536",
    "PENSTOCK_DISCONNECT_GRACE_S": "1",
}
"""Small limits, so that crossing one is cheap; and a short grace, so that runs without an end are over soon."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """Where the same service answers."""

    grpc: str
    split: str
    one_process: str
