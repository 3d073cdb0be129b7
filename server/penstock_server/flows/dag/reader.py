"""Reads a `flow.dag.yaml`; what is wrong with it is collected, and the rest is read all the same."""

from collections.abc import Mapping

from penstock_server.flows.callable import CHAT_HISTORY, CHAT_INPUT, CHAT_OUTPUT
from penstock_server.flows.dag import checks, keys, noderead
from penstock_server.flows.dag.graph import Binding, Graph, OutputDeclaration
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.flow import HISTORY_ROUNDS_MOST
from penstock_server.flows.inputs import Input
from penstock_server.flows.valuetypes import read_count, read_flag, read_input, read_type, text_of


def read(document: Item, problems: Problems) -> Graph:
    """The flow that a document declares; what is wrong is added to `problems`.

    Raises:
        FlowLoadError: nothing can be read of it.
    """
    if not isinstance(document.value, dict):
        problems.add(document, "the document must be a mapping with `inputs`, `outputs` and `nodes`")
        problems.check()
    keys.check("the document", document, keys.DOCUMENT, problems)
    inputs = _section(document, "inputs", problems)
    outputs = _section(document, "outputs", problems)
    chat_input, chat_history = _chat_inputs(inputs, problems)
    graph = Graph(
        description=text_of(document.get("description")),
        inputs=tuple(_input(name, item, problems) for name, item in inputs.items()),
        outputs=tuple(_output(name, item, problems) for name, item in outputs.items()),
        nodes=tuple(noderead.read(document, problems)),
        chat_input=chat_input,
        chat_history=chat_history,
        chat_output=_chat_output(outputs, problems) if chat_input else "",
        allow_extra_inputs=read_flag("the document", document, "allow_extra_inputs", problems),
        history_rounds_max=read_count("the document", document, "history_rounds_max", HISTORY_ROUNDS_MOST, problems),
    )
    checks.check(graph, problems)
    return graph


def _section(document: Item, key: str, problems: Problems) -> Mapping[str, Item]:
    item = document.get(key)
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, f"`{key}` must be a mapping of names to declarations")
    entries = item.entries() if item else {}
    for name, entry in entries.items():
        if not isinstance(entry.value, dict):
            problems.add(entry, f"`{name}` under `{key}` must be a mapping, with its `type`")
    return {name: entry for name, entry in entries.items() if isinstance(entry.value, dict)}


def _input(name: str, item: Item, problems: Problems) -> Input:
    keys.check(f"input `{name}`", item, keys.INPUT, problems)
    return read_input(name, item, problems)


def _output(name: str, item: Item, problems: Problems) -> OutputDeclaration:
    what = f"output `{name}`"
    keys.check(what, item, keys.OUTPUT, problems)
    reference = item.get("reference")
    if reference is None or reference.value == "":
        problems.add(reference or item, f"{what} has no `reference`")
    return OutputDeclaration(
        name=name,
        type=read_type(what, item, problems),
        description=text_of(item.get("description")),
        bindings=_bindings(what, reference or item, problems),
        evaluation_only=read_flag(what, item, "evaluation_only", problems),
    )


def _bindings(what: str, item: Item, problems: Problems) -> tuple[Binding, ...]:
    """One, or those of a list."""
    items = item.value if isinstance(item.value, list) and item.value else [item]
    return tuple(noderead.binding(what, each, problems) for each in items)


def _chat_inputs(inputs: Mapping[str, Item], problems: Problems) -> tuple[str, str]:
    """The chat input and the history; both empty where this is no chat flow.

    A flow is one when an input is marked, and the other one is marked or has the conventional name; or when both
    have those names. An input that is marked as none (`is_chat_history: false`) is none.
    """
    said, is_said = _marked("is_chat_input", CHAT_INPUT, inputs, problems)
    history, _ = _marked("is_chat_history", CHAT_HISTORY, inputs, problems)
    return (said, history) if is_said or (said and history) else ("", "")


def _chat_output(outputs: Mapping[str, Item], problems: Problems) -> str:
    found, _ = _marked("is_chat_output", CHAT_OUTPUT, outputs, problems)
    return found or (next(iter(outputs)) if len(outputs) == 1 else "")


def _marked(flag: str, usual: str, entries: Mapping[str, Item], problems: Problems) -> tuple[str, bool]:
    """The entry that has a flag, or else the one of the usual name; and whether it has the flag."""
    marks = {name: mark.value for name, item in entries.items() if (mark := item.get(flag))}
    for name, value in marks.items():
        if not isinstance(value, bool):
            problems.add(entries[name].get(flag), f"`{name}`: `{flag}` must be true or false")
    found = [name for name, value in marks.items() if value is True]
    if len(found) > 1:
        problems.add(entries[found[1]], f"`{found[0]}` and `{found[1]}` both have `{flag}`; a flow has one")
    if found:
        return found[0], True
    return (usual if usual in entries and marks.get(usual) is not False else ""), False
