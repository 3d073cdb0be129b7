"""Targets, as the command line names them, to flows."""

import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from penstock_server.flows import callable as callables
from penstock_server.flows import entry, flex, shims, snapshot
from penstock_server.flows.dag import flow as dag
from penstock_server.flows.flow import Flow
from penstock_server.flows.problems import FlowLoadError, Problem, ProblemFound, listed
from penstock_server.flows.prompty import flow as prompty
from penstock_server.flows.prompty.code import LoadedPrompty
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads

LOADERS: Mapping[str, Callable[..., Flow]] = {
    "flow.dag.yaml": dag.load,
    "flow.flex.yaml": flex.load,
    "flow.flex.yml": flex.load,
}
"""What loads a folder, by the name of the document that lies in it."""


PROMPTY = ".prompty"
"""How the name of a file ends that is a prompt with its model."""


def load(target: str, *, settings: FlowSettings | None = None) -> Flow:
    """Loads one flow. See `load_all`."""
    return load_all([target], settings=settings)[0]


def load_all(targets: Sequence[str], *, settings: FlowSettings | None = None) -> list[Flow]:
    """Loads flows, in the order given; they share the threads that execute blocking code.

    A target is a folder that holds `flow.dag.yaml`, `flow.flex.yaml` or `flow.flex.yml`; a `*.prompty` file, or a
    folder that holds one; or `module:callable`, for which the current folder becomes importable; the callable may be
    nested, `module:object.attribute`. The flow's id is the name of the folder, of the file or of the callable.
    The flows' own code is imported here, and classes are instantiated, so this may block: call it before serving.

    Raises:
        FlowLoadError: a flow cannot be served, or two have the same id; it holds every problem of every target.
    """
    settings = settings or FlowSettings()
    shims.install()
    LoadedPrompty.settings = settings
    threads = Threads(settings.sync_threads_max)
    flows: list[Flow] = []
    problems: list[Problem] = []
    for target in targets:
        try:
            flow = _load(target, threads, settings)
        except FlowLoadError as error:
            problems.extend(error.problems)
        except ProblemFound as error:
            problems.append(error.at(target))
        except OSError as error:
            problems.append(Problem(file=target, text=f"cannot read {error.filename}: {error.strerror}"))
        else:
            problems.extend(_same_id(flow, flows, target))
            flows.append(flow)
    if problems:
        raise FlowLoadError(problems)
    return flows


def _load(target: str, threads: Threads, settings: FlowSettings) -> Flow:
    path = document_of(target)
    if path is None:
        return _load_callable(target, threads, settings)
    absolute = Path(os.path.normpath(path.absolute()))  # a link keeps its own name, which is the flow's id
    if path.suffix == PROMPTY:
        flow = absolute.parent.name if Path(target).is_dir() else absolute.stem
        return prompty.load(absolute, str(path), flow=flow, threads=threads, settings=settings)
    return LOADERS[path.name](absolute, str(path), threads=threads, settings=settings)


def document_of(target: str) -> Path | None:
    """The document that makes a flow of what a target names; None for a target that is a callable.

    A folder without a YAML document may hold one `*.prompty`, and a target may name such a file.

    Raises:
        ProblemFound: the target names neither.
    """
    folder = Path(target)
    if not folder.is_dir():
        if folder.suffix == PROMPTY and folder.is_file():
            return folder
        if _CALLABLE.match(target):
            return None
        if folder.exists():
            raise ProblemFound("this is a file", hint=f"name the flow's folder, `{folder.parent}`")
        raise ProblemFound("there is no such folder", hint="a flow is a folder, or module:callable")
    found = [name for name in LOADERS if (folder / name).is_file()]
    if len(found) > 1:
        raise ProblemFound(f"the folder holds {' and '.join(found)}", hint="keep the one that is to be served")
    found = found or sorted(path.name for path in folder.glob(f"*{PROMPTY}"))
    if not found:
        raise ProblemFound("the folder holds no flow.dag.yaml, no flow.flex.yaml and no *.prompty")
    if len(found) > 1:
        raise ProblemFound(f"the folder holds {listed(found)}", hint=f"name one of them, `{folder / found[0]}`")
    return folder / found[0]


def _load_callable(target: str, threads: Threads, settings: FlowSettings) -> Flow:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = entry.find(target, importlib.import_module)
    name = target.rpartition(":")[2]
    hint = "a class is made without arguments here; flow.flex.yaml can give them as `init`"
    code = entry.called(found, name, {}, hint=hint)
    version = snapshot.of_callable(found, code)
    return callables.make(name.rpartition(".")[2], code, snapshot=version, threads=threads, settings=settings)


def _same_id(flow: Flow, others: Sequence[Flow], target: str) -> list[Problem]:
    if any(other.spec.flow == flow.spec.flow for other in others):
        text = f"another flow has the id `{flow.spec.flow}`, too"
        return [Problem(file=target, text=text, hint="rename the folder or the callable: ids name flows in addresses")]
    return []


_CALLABLE = re.compile(r"[\w.]+:[\w.]+$")
