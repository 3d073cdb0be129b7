"""What is wrong with a flow's files, found before it is served."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that keeps a flow from being served."""

    file: str
    """The file, as the target named its folder; or the target itself."""
    line: int = 0
    """The line, from 1; 0 where none can be named."""
    column: int = 0
    """The column, from 1; 0 where none can be named."""
    text: str
    """What is wrong."""
    hint: str = ""
    """What to do about it."""
    trace: str = ""
    """The traceback of the flow's own code, where it raised."""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        hint = f" ({self.hint})" if self.hint else ""
        trace = "".join(f"\n    {line}" for line in self.trace.splitlines())
        return f"{place}: {self.text}{hint}{trace}"


class FlowLoadError(Exception):
    """Flows that cannot be served, with every reason that was found; its text has one line a problem.

    Attributes:
        problems: what is wrong, in the order of the targets.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ProblemFound(Exception):
    """A problem whose place the one who catches this knows, or that is complete.

    Attributes:
        text: what is wrong.
        hint: what to do about it.
        trace: the traceback of the flow's own code, where it raised.
    """

    def __init__(self, text: str, *, hint: str = "", trace: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.trace = trace

    def at(self, file: str, line: int = 0, column: int = 0, *, prefix: str = "") -> Problem:
        """The problem in its place."""
        return Problem(file=file, line=line, column=column, text=prefix + self.text, hint=self.hint, trace=self.trace)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A hint for a name that nothing has: the name most like it, or those that exist."""
    return meant(name, known) or (f"it has: {listed(known)}" if known else "")


def meant(name: str, known: Sequence[str]) -> str:
    """The same where a name is like one that exists; empty otherwise."""
    close = get_close_matches(name, known, n=1) if len(name) <= _NAME_CHARS_MAX else []
    return f"did you mean `{close[0]}`?" if close else ""


def listed(names: Sequence[str]) -> str:
    """Names for a sentence; of many, the first."""
    shown = ", ".join(names[:_NAMES_MAX])
    return f"{shown}, …" if len(names) > _NAMES_MAX else shown


_NAME_CHARS_MAX = 64
_NAMES_MAX = 12
