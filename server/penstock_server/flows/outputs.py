"""The outputs of one execution, on their way from the flow's code to the recorder."""

from collections.abc import Mapping

from penstock.values import DEPTH_MAX, VALUES_MAX, Allowance, InvalidValue
from penstock_server.flows.failures import Translator
from penstock_server.flows.flow import Recorder
from penstock_server.flows.results import jsonable
from penstock_server.flows.usercode import joined


class Outputs:
    """Makes JSON of outputs and tells them; a value that is no JSON fails the run and names the output."""

    def __init__(self, recorder: Recorder, translator: Translator) -> None:
        self._recorder = recorder
        self._translator = translator
        self.tell = recorder.delta
        self.room = recorder.room

    def json(self, values: Mapping[str, object], node: str = "") -> dict[str, object]:
        """The JSON values of outputs that come from `node`.

        Raises:
            FlowFailed: one of them is no JSON value, or all together are more than one answer may hold.
        """
        result = {}
        allowance = Allowance()
        for name, value in values.items():
            if not isinstance(name, str):
                raise self._translator.of_output(repr(name)[:100], "the name of an output must be text", node)
            try:
                allowance.enter(DEPTH_MAX, 1)
                result[name] = jsonable(value, allowance=allowance)
            except InvalidValue as error:
                raise self._translator.of_output(name, str(error), node) from None
        return result

    def stream(self, names: tuple[str, ...], node: str = "") -> "OutputStream":
        """A stream that is told as the chunks of these outputs."""
        return OutputStream(self._recorder, self._translator, names, node)


class OutputStream:
    """The chunks of one iterator, told as those of one or more outputs."""

    def __init__(self, recorder: Recorder, translator: Translator, names: tuple[str, ...], node: str) -> None:
        self._delta = recorder.delta
        self._translator = translator
        self._names = names
        self._node = node
        self._told: list[object] = []

    def put(self, chunk: object) -> bool:
        """Tells a chunk; says whether there is room for more."""
        if chunk.__class__ is not str or not chunk.isascii():
            chunk = self._json(chunk)
        self._told.append(chunk)
        return self._delta(dict.fromkeys(self._names, chunk))

    def result(self) -> dict[str, object]:
        """The whole of each output."""
        whole = joined(self._told)
        return dict.fromkeys(self._names, whole)

    def _json(self, chunk: object) -> object:
        allowance = Allowance()
        allowance.left = VALUES_MAX // len(self._names) - 1  # one message carries the chunk under every name
        try:
            # The chunks of a stream lie in a list in the object of outputs.
            return jsonable(chunk, DEPTH_MAX - 2, allowance)
        except InvalidValue as error:
            text = f"chunk {len(self._told) + 1}: {error}"
            raise self._translator.of_output(self._names[0], text, self._node) from None
