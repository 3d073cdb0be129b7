"""Reads the `nodes` and the `node_variants` of a document."""

from collections.abc import Mapping, Sequence

from penstock_server.flows.dag import keys, policy
from penstock_server.flows.dag.graph import Binding, Condition, NodeDeclaration
from penstock_server.flows.dag.references import parse
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.problems import ProblemFound, did_you_mean
from penstock_server.flows.valuetypes import read_flag, text_of


def read(document: Item, problems: Problems) -> Sequence[NodeDeclaration]:
    """The nodes of a document, each variant in its place; what is wrong is added to `problems`."""
    item = document.get("nodes")
    if item is None or not isinstance(item.value, list):
        problems.add(item or document, "`nodes` must be a list of nodes")
        return []
    nodes: dict[str, NodeDeclaration] = {}
    variants = _variants(document, problems)
    for entry in item.value:
        name = _name(entry, problems)
        if name in nodes:
            first = nodes[name].item.line
            problems.add(entry.get("name"), f"node `{name}` is there twice, first in line {first}")
        elif name:
            chosen = _chosen(name, entry, variants, problems)
            nodes[name] = _node(name, chosen, problems)
    return list(nodes.values())


def binding(what: str, item: Item, problems: Problems) -> Binding:
    """The value or the reference that stands at a place."""
    value = item.plain()
    try:
        return Binding(reference=parse(value), literal=value, item=item)
    except ProblemFound as error:
        problems.add(item, f"{what}: {error.text}", hint=error.hint)
        return Binding(reference=None, item=item)


def _name(item: Item, problems: Problems) -> str:
    name = text_of(item.get("name"))
    if not name:
        problems.add(item, "a node must have a `name`")
    elif name in ("inputs", "flow") or set(name) & set(".[]{}'\""):
        problems.add(item.get("name"), f"node `{name}`: references could not name it", hint="rename the node")
    return name


def _node(name: str, item: Item, problems: Problems) -> NodeDeclaration:
    what = f"node `{name}`"
    keys.check(what, item, keys.NODE, problems)
    keys.check(f"{what}: `source`", item.get("source"), keys.SOURCE, problems)
    if (skip := item.get("skip")) is not None:
        problems.add(skip, f"{what}: `skip` is not supported", hint="`activate` says when a node runs")
    inputs = item.get("inputs")
    if inputs is not None and not isinstance(inputs.value, dict):
        problems.add(inputs, f"{what}: `inputs` must be a mapping")
    entries = inputs.entries() if inputs else {}
    return NodeDeclaration(
        name=name,
        type=text_of(item.get("type")),
        item=item,
        inputs={key: binding(f"{what}, input `{key}`", entry, problems) for key, entry in entries.items()},
        activate=_condition(what, item.get("activate"), problems),
        aggregation=read_flag(what, item, "aggregation", problems) or read_flag(what, item, "reduce", problems),
        policy=policy.read(name, item, problems),
    )


def _condition(what: str, item: Item | None, problems: Problems) -> Condition | None:
    if item is None:
        return None
    keys.check(f"{what}: `activate`", item, keys.ACTIVATE, problems)
    entries = item.entries()
    if not entries.keys() >= set(keys.ACTIVATE):
        hint = 'activate: {when: "${inputs.x}", is: true}'
        problems.add(item, f"{what}: `activate` needs `when` and `is`", hint=hint)
        return None
    return Condition(when=binding(f"{what}, `activate`", entries["when"], problems), value=entries["is"].plain())


def _variants(document: Item, problems: Problems) -> Mapping[str, Item]:
    item = document.get("node_variants")
    if item is not None and not isinstance(item.value, dict):
        problems.add(item, "`node_variants` must be a mapping of nodes to their variants")
    entries = item.entries() if item else {}
    for name, entry in entries.items():
        keys.check(f"`node_variants`, `{name}`", entry, keys.VARIANTS, problems)
        variants = entry.get("variants")
        for variant, each in (variants.entries() if variants else {}).items():
            keys.check(f"`node_variants`, `{name}`, `{variant}`", each, keys.VARIANT, problems)
    return entries


def _chosen(name: str, item: Item, variants: Mapping[str, Item], problems: Problems) -> Item:
    """The node itself, or its default variant, which then stands for all of it, as in prompt flow."""
    if not read_flag(f"node `{name}`", item, "use_variants", problems):
        return item
    found = variants.get(name)
    if found is None:
        problems.add(item, f"node `{name}` uses variants, and `node_variants` has none for it")
        return item
    declared = found.get("variants")
    known = declared.entries() if declared else {}
    default = found.get("default_variant_id")
    variant = known.get(text_of(default))
    node = variant.get("node") if variant else None
    if variant is None:
        text = f"node `{name}`: `default_variant_id` names no variant"
        problems.add(default or found, text, hint=did_you_mean(text_of(default), list(known)))
    elif node is None or not isinstance(node.value, dict):
        problems.add(node or variant, f"node `{name}`: its default variant needs a `node`, a mapping")
    return item if node is None or not isinstance(node.value, dict) else node
