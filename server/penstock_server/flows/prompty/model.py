"""The `model` of a prompty: which one answers, how it is asked, and what is made of its answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from penstock.connections import AzureOpenAIConnection, Connection, InvalidConnection, OpenAIConnection
from penstock_server.flows.connections.connections import Connections
from penstock_server.flows.connections.declaration import type_of
from penstock_server.flows.dag import keys
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.models import settings
from penstock_server.flows.placeholders import filled
from penstock_server.flows.problems import ProblemFound, did_you_mean
from penstock_server.flows.prompty.document import MODEL_KEYS

RESPONSES = ("first", "all")
"""What is made of an answer: its text, or the whole of it."""

MODEL_NAMES = ("azure_deployment", "model")
"""The entries of the configuration that name the model."""

MISTYPED_RATIO_MIN = 0.85
"""How like a known setting another name must be to count as mistyped: `top_logprobs` and `store` are none."""

NAMES: Mapping[type[Connection], Mapping[str, str]] = {
    AzureOpenAIConnection: {"azure_endpoint": "api_base"},
    OpenAIConnection: {},
}
"""The connections that a configuration can be, with the entries that have another name there."""

VARIABLES: Mapping[type[Connection], Mapping[str, str]] = {
    AzureOpenAIConnection: {
        "api_key": "${env:AZURE_OPENAI_API_KEY}",
        "api_base": "${env:AZURE_OPENAI_ENDPOINT}",
        "api_version": "${env:OPENAI_API_VERSION:-2024-02-01}",
    },
    OpenAIConnection: {"api_key": "${env:OPENAI_API_KEY}", "base_url": "${env:OPENAI_BASE_URL:-}"},
}
"""Where a configuration that says nothing but the model finds the rest, as in prompt flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptyModel:
    """A `model`, read."""

    connection: Connection
    name: str
    """The model's name; with Azure, the deployment's."""
    api: str = "chat"
    parameters: Mapping[str, object] = field(default_factory=dict)
    stream: bool | None = None
    """What the parameters say of giving the answer in pieces; None where they say nothing."""
    whole: bool = False
    """Whether the whole answer is asked for, in place of its text."""

    @property
    def has_tools(self) -> bool:
        """Whether the answer may be a call in place of a text."""
        return any(name in self.parameters for name in settings.WITH_TOOLS)

    @property
    def is_streaming(self) -> bool:
        """Whether the answer can be given in pieces: nothing is said against it, and it is text."""
        return self.stream is not False and not (self.whole or self.is_json or self.has_tools)

    @property
    def is_json(self) -> bool:
        """Whether the answer's text is a JSON object, which then is the result."""
        form = self.parameters.get("response_format")
        return isinstance(form, Mapping) and form.get("type") in ("json_object", "json_schema")


def read(item: Item | None, folder: Path, connections: Connections, problems: Problems) -> PromptyModel | None:
    """Reads a `model`; None, with a problem added for each thing that is wrong, where it cannot be asked."""
    if item is None or not isinstance(item.value, dict):
        problems.add(item, "the front matter needs a `model`, a mapping with its `configuration`")
        return None
    keys.check("`model`", item, MODEL_KEYS, problems)
    count = len(problems.found)
    api = _choice(item, "api", list(settings.APIS), problems)
    response = _choice(item, "response", RESPONSES, problems)
    stream, given = _parameters(item.get("parameters"), api, folder, problems)
    found = _configuration(item, folder, connections, problems)
    if found is None or len(problems.found) > count:
        return None
    connection, name = found
    return PromptyModel(
        connection=connection, name=name, api=api, parameters=given, stream=stream, whole=response == "all"
    )


def _choice(item: Item, key: str, known: "list[str] | tuple[str, ...]", problems: Problems) -> str:
    """One of the words that are known; the first one where there is none, or another one."""
    said = item.get(key)
    if said is not None and said.value not in known:
        problems.add(said, f"`model`: there is no `{key}` {said.plain()!r}", hint=did_you_mean(str(said.value), known))
        return known[0]
    return str(said.value) if said else known[0]


def _parameters(
    item: Item | None, api: str, folder: Path, problems: Problems
) -> tuple[bool | None, Mapping[str, object]]:
    """What is said of streaming, and the settings that go with the request."""
    if item is None or not isinstance(item.value, dict):
        if item is not None:
            problems.add(item, "`parameters` must be a mapping of settings to values")
        return None, {}
    given: dict[str, object] = {}
    stream: bool | None = None
    for name, entry in item.entries().items():
        try:
            value = filled(entry.plain(), folder)
            if name == "stream":
                stream = _flag(value)
            else:
                given.update(_parameter(name, value, api))
        except ProblemFound as error:
            problems.add(entry, f"`parameters`, `{name}`: {error.text}", hint=error.hint)
        except ValueError as error:
            problems.add(entry, f"`parameters`: {error}")
    return stream, given


def _parameter(name: str, value: object, api: str) -> Mapping[str, object]:
    """A parameter as the protocol takes it. One that we do not know is the server's affair, unless it is mistyped."""
    known = settings.APIS[api]
    if name in known:
        return settings.read({name: value}, known)
    close = get_close_matches(name, known, n=1, cutoff=MISTYPED_RATIO_MIN)
    if name in settings.RESERVED or close:
        hint = f"did you mean `{close[0]}`?" if close else ""
        raise ProblemFound(f"there is no such setting of `{api}`", hint=hint)
    return {name: value}


def _flag(value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ProblemFound("must be true or false")
    return str(value).lower() == "true"


def _configuration(
    item: Item, folder: Path, connections: Connections, problems: Problems
) -> tuple[Connection, str] | None:
    configuration = item.get("configuration")
    if configuration is None or not isinstance(configuration.value, dict):
        problems.add(configuration or item, "`model` needs a `configuration`, a mapping with the model's name")
        return None
    try:
        values = filled(configuration.plain(), folder)
        assert isinstance(values, dict)  # noqa: S101 - so was the item
        return connection_of(values, connections)
    except ProblemFound as error:
        problems.add(configuration, f"`configuration`: {error.text}", hint=error.hint)
        return None


def connection_of(values: Mapping[str, object], connections: Connections) -> tuple[Connection, str]:
    """The connection that a configuration names or is, and the model's name.

    Raises:
        ProblemFound: there is no such connection, or something is missing or too much.
    """
    rest = {key: value for key, value in values.items() if value not in (None, "")}
    model = next((str(rest.pop(key)) for key in MODEL_NAMES if key in rest), "")
    if not model:
        raise ProblemFound("names no model", hint=f"give `{MODEL_NAMES[1]}`, or with Azure `{MODEL_NAMES[0]}`")
    kind_name = str(rest.pop("type", ""))
    name = rest.pop("connection", None)
    if name is not None:
        if rest:
            raise ProblemFound(f"its connection decides about `{next(iter(rest))}`; give one of the two")
        return connections.get(str(name)), model
    return _made(kind_name, rest), model


def _made(kind_name: str, values: Mapping[str, object]) -> Connection:
    """A connection of a configuration's own values; of those of the environment, where it has none."""
    kind = type_of(kind_name)
    if kind is None or kind not in NAMES:
        text = f"there is no `type` {kind_name!r}" if kind_name else "needs a `connection`, or a `type`"
        raise ProblemFound(text, hint="the types are azure_openai and openai")
    given = {NAMES[kind].get(key, key): value for key, value in values.items()}
    if not given:
        given = {key: found for key, each in VARIABLES[kind].items() if (found := filled(each, Path()))}
    make: Callable[..., Connection] = kind
    try:
        return make(**given)
    except (InvalidConnection, TypeError) as error:
        raise ProblemFound(str(error)) from None
