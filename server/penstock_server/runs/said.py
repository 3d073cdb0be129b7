"""What a run has said so far: the pieces of its outputs, put together."""

from collections.abc import Collection, Mapping


class Said:
    """The outputs of a run as far as they are known.

    Args:
        streaming_outputs: the outputs that come in chunks; None where that is not known.
    """

    def __init__(self, streaming_outputs: Collection[str] | None) -> None:
        self._streaming_outputs = streaming_outputs
        self._chunks: dict[str, list[object]] = {}

    def add(self, outputs: Mapping[str, object]) -> None:
        """Adds the outputs of an `OutputDelta`."""
        for name, chunk in outputs.items():
            self._chunks.setdefault(name, []).append(chunk)

    @property
    def outputs(self) -> dict[str, object]:
        """All of it: texts joined, other chunks as lists."""
        return {name: self._joined(name, chunks) for name, chunks in self._chunks.items()}

    def _joined(self, name: str, chunks: list[object]) -> object:
        streams = len(chunks) > 1 if self._streaming_outputs is None else name in self._streaming_outputs
        if not streams:
            return chunks[-1]
        texts = [chunk for chunk in chunks if isinstance(chunk, str)]
        return "".join(texts) if len(texts) == len(chunks) else chunks
