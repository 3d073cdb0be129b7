"""Exceptions of flow code, as the failures that callers are told."""

import asyncio
import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

from penstock.flow import InvalidInput
from penstock.secret import masked
from penstock_server.errors import Failure, FlowFailed, InputRefused
from penstock_server.flows.threads import CodeRaised

ERROR_BYTES_MAX = 1000
"""How much of an exception's text callers see, in UTF-8; an error travels in metadata, which is small."""


class Translator:
    """Turns what a flow's code raised into the failure of its run."""

    def __init__(self, flow: str, *, error_text: bool) -> None:
        self._flow = flow
        self._error_text = error_text

    def failure(self, raised: BaseException, node: str = "") -> Failure:
        """The failure for an exception; its cause is the user's, with the traceback cut to the user's frames.

        Failures of ours pass as they are, with the flow and the node added to their metadata.
        """
        error = raised.error if isinstance(raised, CodeRaised) else raised
        if isinstance(error, Failure):
            error.metadata.update({key: text for key, text in self._where(node).items() if key not in error.metadata})
            return error
        failure = self._refused(error, node) if isinstance(error, InvalidInput) else self._failed(error, node)
        failure.__cause__ = with_user_frames(error)
        return failure

    def of_output(self, output: str, text: str, node: str = "") -> FlowFailed:
        """The failure of a flow whose output is no JSON value."""
        return FlowFailed(f"output `{output}`: {text}", metadata={**self._where(node), "output": output})

    def _refused(self, error: InvalidInput, node: str) -> InputRefused:
        message = _text(error) or "the flow refused its inputs"
        violations = [(f"inputs.{_cut(str(error.input))}", message)] if error.input else []
        return InputRefused(message, metadata=self._where(node), violations=violations)

    def _failed(self, error: BaseException, node: str) -> FlowFailed:
        what = f"node `{node}`" if node else f"flow `{self._flow}`"
        return FlowFailed(f"{what} raised {self._told(error)}", metadata=self._where(node))

    def _told(self, error: BaseException) -> str:
        text = _text(error) if self._error_text else ""
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def _where(self, node: str) -> dict[str, str]:
        return {"flow": self._flow, "node": node} if node else {"flow": self._flow}


def pass_cancellation(raised: BaseException) -> None:
    """Lets the end of the current task pass: raises CancelledError if it is being cancelled, whatever was raised.

    A CancelledError that the flow's code raised by itself is a failure like any other, and does not pass. A
    GeneratorExit passes, for it means that the coroutine is being closed.
    """
    if isinstance(raised, GeneratorExit):
        raise raised
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise raised if isinstance(raised, asyncio.CancelledError) else asyncio.CancelledError from raised


def with_user_frames(error: BaseException) -> BaseException:
    """The same exception, its traceback without the frames of this package and of the import system."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for frame in reversed(frames):
        if not _is_ours(frame):
            kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return error.with_traceback(kept)


def user_trace(error: BaseException) -> str:
    """The traceback of the user's code as text."""
    return masked("".join(traceback.format_exception(with_user_frames(error))).rstrip())


def _is_ours(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return file.startswith((_PACKAGE, "<frozen importlib")) or file in _IMPORT_FILES


def _text(error: BaseException) -> str:
    try:
        return _cut(masked(str(error)))
    except Exception:  # the flow's own __str__ raised
        return ""


def _cut(text: str) -> str:
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= ERROR_BYTES_MAX else f"{data[:ERROR_BYTES_MAX].decode(errors='ignore')}…"


_PACKAGE = str(Path(__file__).parent) + os.sep
_IMPORT_FILES = (sys.modules["importlib"].__file__,)
