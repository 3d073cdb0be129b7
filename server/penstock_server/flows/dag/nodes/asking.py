"""What nodes that ask models have in common: the connection, the model's name, and its settings among the inputs."""

from collections.abc import Mapping

from penstock_server.errors import FlowFailed
from penstock_server.flows.dag.graph import NodeDeclaration
from penstock_server.flows.dag.nodes.node import Workshop
from penstock_server.flows.models import settings
from penstock_server.flows.models.absent import AbsentModel
from penstock_server.flows.models.chat import Model
from penstock_server.flows.models.settings import Read
from penstock_server.flows.problems import ProblemFound, listed
from penstock_server.flows.valuetypes import text_of

MODEL_NAMES = ("deployment_name", "model")
"""The inputs that name the model: Azure's word, and everybody else's."""


def model(declared: NodeDeclaration, workshop: Workshop) -> Model | None:
    """The model behind the node's connection; None, with a problem added, where there is none.

    Where the connection is optional and not set, it is one that cannot be asked.
    """
    item = declared.item.get("connection")
    name = text_of(item)
    if not name:
        known = workshop.connections.names
        hint = f"known are: {listed(known)}" if known else "declare one in connections.yaml"
        workshop.problems.add(item or declared.item, f"node `{declared.name}` needs a `connection`", hint=hint)
        return None
    try:
        connection = workshop.connections.find(name)
        return AbsentModel(name) if connection is None else workshop.models.of(connection)
    except ProblemFound as error:
        workshop.problems.add(item, f"node `{declared.name}`: {error.text}", hint=error.hint)
        return None


def check_inputs(declared: NodeDeclaration, known: Mapping[str, Read], workshop: Workshop) -> None:
    """Adds a problem for each setting whose literal no model takes, and where no model is named."""
    what = f"node `{declared.name}`"
    for name, binding in declared.inputs.items():
        if name not in known or binding.reference is not None:
            continue
        try:
            settings.read({name: binding.literal}, known)
        except ValueError as error:
            workshop.problems.add(binding.item, f"{what}: {error}")
    if not any(each.reference or each.literal for name, each in declared.inputs.items() if name in MODEL_NAMES):
        text = f"{what} names no model"
        workshop.problems.add(declared.item, text, hint=f"give the input `{MODEL_NAMES[0]}` or `{MODEL_NAMES[1]}`")


def divided(
    arguments: Mapping[str, object], known: Mapping[str, Read]
) -> tuple[str, dict[str, object], dict[str, object]]:
    """The model's name, its settings, and the other arguments.

    Raises:
        FlowFailed: a setting has no form that models take, or no model is named.
    """
    name = next((str(arguments[each]) for each in MODEL_NAMES if arguments.get(each)), "")
    if not name:
        raise FlowFailed(f"no model is named: `{MODEL_NAMES[0]}` is empty")
    try:
        given = settings.read({key: arguments[key] for key in arguments if key in known}, known)
    except ValueError as error:
        raise FlowFailed(f"a setting of the model is wrong: {error}") from None
    rest = {key: value for key, value in arguments.items() if key not in known and key not in MODEL_NAMES}
    return name, given, rest
