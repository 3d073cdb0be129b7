"""The keys that a `flow.dag.yaml` may have: prompt flow's, LangStudio's and our own."""

from collections.abc import Sequence

from penstock_server.flows.document import Item, Problems
from penstock_server.flows.problems import did_you_mean

DOCUMENT = (
    "inputs", "outputs", "nodes", "node_variants", "environment_variables", "additional_includes", "description",
    "allow_extra_inputs", "history_rounds_max", "$schema", "id", "name", "display_name", "type", "path", "tags",
    "version", "language", "message_format", "environment", "tools", "code", "metadata",
)  # fmt: skip
"""Of the document; those from `$schema` on are taken, and change nothing."""

INPUT = ("type", "default", "description", "is_chat_input", "is_chat_history", "enum", "title", "name")
"""Of an input."""

OUTPUT = ("type", "reference", "description", "is_chat_output", "evaluation_only", "title", "name")
"""Of an output."""

NODE = (
    "name", "type", "source", "inputs", "activate", "aggregation", "reduce", "use_variants", "timeout_s", "retry",
    "connection", "api", "provider", "module", "deployment_name", "tool", "comment", "description", "enable_cache",
    "metadata", "skip",
)  # fmt: skip
"""Of a node."""

SOURCE = ("type", "path", "tool")
"""Of a node's `source`."""

ACTIVATE = ("when", "is")
"""Of a node's `activate`."""

VARIANTS = ("default_variant_id", "variants")
"""Of an entry of `node_variants`."""

VARIANT = ("node", "description")
"""Of a variant."""


def check(what: str, item: Item | None, known: Sequence[str], problems: Problems) -> None:
    """Adds a problem for each key that nothing reads; keys that begin with `x-` are the author's own."""
    for key, entry in (item.entries() if item else {}).items():
        if key not in known and not key.startswith("x-"):
            problems.add(entry, f"{what} has no `{key}`", hint=did_you_mean(key, known[:_HINTED]))


_HINTED = 12
"""How many of the keys a hint may name; the others matter to nobody here."""
