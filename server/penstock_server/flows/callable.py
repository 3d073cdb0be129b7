"""Flows that are one Python callable."""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from penstock.flow import TOOL_ATTRIBUTE
from penstock_server.flows.docstrings import Docstring, docstring_of
from penstock_server.flows.failures import Translator, pass_cancellation
from penstock_server.flows.flow import HISTORY_ROUNDS_MOST, FlowKind, FlowSpec, Recorder
from penstock_server.flows.inputs import MISSING, Input, Inputs, UnsupportedInput
from penstock_server.flows.intake import Intake
from penstock_server.flows.models.models import Models
from penstock_server.flows.outputs import Outputs
from penstock_server.flows.problems import ProblemFound
from penstock_server.flows.returns import UNKNOWN, Returns
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads
from penstock_server.flows.usercode import UserCode, gathered, is_stream, run_stream

CHAT_INPUT, CHAT_OUTPUT, CHAT_HISTORY = "question", "answer", "chat_history"
"""The names that make a chat flow of a callable."""

PLAIN_OUTPUT = "output"
"""The output of a callable that is no chat flow and returns no object."""


class CallableFlow:
    """A flow whose every execution is one call."""

    def __init__(
        self,
        *,
        spec: FlowSpec,
        code: UserCode,
        inputs: Inputs,
        returns: Returns,
        threads: Threads,
        settings: FlowSettings,
        close: Callable[[], None] | None,
        models: Models | None,
    ) -> None:
        self.spec = spec
        self._code = code
        self._returns = returns
        self._threads = threads.share(self)
        self._settings = settings
        self._close = close
        self._models = models
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
        outputs = Outputs(recorder, self._translator)
        try:
            result = await self._code.call(arguments, self._threads)
            values = self._returns.outputs(result)
            if self._returns.streaming or any(map(is_stream, values.values())):
                return await self._run_streams(values, outputs)
            whole = outputs.json(values)
            outputs.tell(whole)
            return whole
        except BaseException as error:
            pass_cancellation(error)
            raise self._translator.failure(error)  # noqa: B904 - its cause is the user's exception

    async def close(self) -> None:
        """See `Flow.close`."""
        await self._threads.close(self, self._settings.close_wait_s)
        if self._close is not None:
            self._close()
        if self._models is not None:
            await self._models.close()

    async def _run_streams(self, values: Mapping[str, object], outputs: Outputs) -> dict[str, object]:
        streaming = [name for name in values if name in self._returns.streaming]
        wholes = {name: await self._whole(value) for name, value in values.items() if name not in streaming}
        done = outputs.json(wholes)
        if wholes and not outputs.tell(dict(done)):
            await outputs.room()
        for name in streaming:
            stream = outputs.stream((name,))
            await run_stream(values[name], self._threads, stream.put, outputs.room)
            done.update(stream.result())
        return outputs.json({name: done[name] for name in values})  # chunks that are few may be many together

    async def _whole(self, value: object) -> object:
        if not is_stream(value):
            return value
        return await gathered(value, self._threads)


def make(
    flow: str,
    target: Callable[..., Any],
    *,
    snapshot: str,
    threads: Threads,
    settings: FlowSettings,
    declared: Mapping[str, Input] = MappingProxyType({}),
    description: str | None = None,
    sample: Mapping[str, object] | None = None,
    history_rounds_max: int | None = None,
    returns: Any = UNKNOWN,
    close: Callable[[], None] | None = None,
    models: Models | None = None,
) -> CallableFlow:
    """Makes a flow of a callable.

    Args:
        flow: the flow's id.
        target: a function of any of the four kinds, or an object with `__call__`.
        snapshot: names the version of its source.
        threads: where its blocking code executes.
        settings: the limits.
        declared: what something else than the signature says of inputs.
        description: what the flow does; None where the docstring says it.
        sample: inputs that its author shows to callers, as an example.
        history_rounds_max: how many rounds of its session a chat flow asks for; None where `@tool` may say it.
        returns: what is known of its result, as a type hint, where the annotation is not to say it.
        close: lets go of its folder, if it has one; called when the flow is closed.
        models: the models that it asks, if any; the flow closes them.

    Raises:
        ProblemFound: its signature is nothing that JSON can satisfy, or `@tool` says what cannot be.
    """
    code = _code(target)
    hints = _hints(code.function)
    docs = docstring_of(target, code.function)
    found = _inputs(code.signature, hints, docs)
    found.update({name: _declared(each, found.get(name)) for name, each in declared.items()})
    is_chat = {CHAT_INPUT, CHAT_HISTORY} <= found.keys()
    inputs = _checked([_optional_history(each) if is_chat else each for each in found.values()], code.signature)
    hint = hints.get("return", UNKNOWN) if returns is UNKNOWN else returns
    result = Returns(hint, code.written, CHAT_OUTPUT if is_chat else PLAIN_OUTPUT)
    spec = FlowSpec(
        flow=flow,
        kind=FlowKind.CHAT if is_chat else FlowKind.STANDARD,
        description=docs.description if description is None else description,
        input_schema=inputs.schema if sample is None else {**inputs.schema, "examples": [sample]},
        output_schema=result.schema,
        streaming_outputs=result.streaming,
        snapshot=snapshot,
        chat_input=CHAT_INPUT if is_chat else "",
        chat_output=_chat_output(result) if is_chat else "",
        chat_history=CHAT_HISTORY if is_chat else "",
        history_rounds_max=_marked_rounds(target) if history_rounds_max is None else history_rounds_max,
    )
    return CallableFlow(
        spec=spec,
        code=code,
        inputs=inputs,
        returns=result,
        threads=threads,
        settings=settings,
        close=close,
        models=models,
    )


def _code(target: Callable[..., Any]) -> UserCode:
    try:
        return UserCode(target)
    except (TypeError, ValueError) as error:
        raise ProblemFound(f"its signature cannot be read: {error}") from error


def _marked_rounds(target: Callable[..., Any]) -> int | None:
    """How many rounds `@tool(history_rounds_max=…)` asks for, on a function or on the `__call__` of a class."""
    marked = target if hasattr(target, TOOL_ATTRIBUTE) else type(target).__call__
    rounds = getattr(marked, TOOL_ATTRIBUTE, {}).get("history_rounds_max")
    if rounds is not None and (type(rounds) is not int or not 0 <= rounds <= HISTORY_ROUNDS_MOST):
        raise ProblemFound(f"`@tool`: history_rounds_max must be a whole number from 0 to {HISTORY_ROUNDS_MOST}")
    return rounds


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        hint = "import what the annotations name where the code executes, not under `if TYPE_CHECKING`"
        raise ProblemFound(f"its annotations cannot be read: {error}", hint=hint) from error
    except TypeError:  # a builtin, which has none
        return {}


def _inputs(signature: inspect.Signature, hints: Mapping[str, Any], docs: Docstring) -> dict[str, Input]:
    return {
        name: Input(
            name=name,
            hint=hints.get(name, Any),
            default=MISSING if parameter.default is parameter.empty else parameter.default,
            description=docs.inputs.get(name, ""),
        )
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _declared(declared: Input, own: Input | None) -> Input:
    """An input as it is declared; what the declaration leaves open, the signature says."""
    if own is None:
        return declared
    return Input(
        name=own.name,
        hint=own.hint if declared.hint is Any else declared.hint,
        default=own.default if declared.default is MISSING else declared.default,
        description=declared.description or own.description,
    )


def _optional_history(declared: Input) -> Input:
    is_open = declared.name == CHAT_HISTORY and declared.default is MISSING
    return replace(declared, default=[]) if is_open else declared


def _checked(found: Sequence[Input], signature: inspect.Signature) -> Inputs:
    takes_others = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    try:
        return Inputs(found, others=takes_others)
    except UnsupportedInput as error:
        hint = "callers send JSON: give it a type that pydantic can read, or make the object elsewhere"
        raise ProblemFound(f"input `{error.name}`: {error}", hint=hint) from error


def _chat_output(returns: Returns) -> str:
    outputs = tuple(returns.schema["properties"])
    return outputs[0] if len(outputs) == 1 else CHAT_OUTPUT
