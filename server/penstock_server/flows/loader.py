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
from penstock_server.flows.problems import FlowLoadError, Problem, ProblemFound
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.threads import Threads

LOADERS: Mapping[str, Callable[..., Flow]] = {
    "flow.dag.yaml": dag.load,
    "flow.flex.yaml": flex.load,
    "flow.flex.yml": flex.load,
}
"""What loads a folder, by the name of the document that lies in it."""


def load(target: str, *, settings: FlowSettings | None = None) -> Flow:
    """Loads one flow. See `load_all`."""
    return load_all([target], settings=settings)[0]


def load_all(targets: Sequence[str], *, settings: FlowSettings | None = None) -> list[Flow]:
    """Loads flows, in the order given; they share the threads that execute blocking code.

    A target is a folder that holds `flow.dag.yaml`, `flow.flex.yaml` or `flow.flex.yml`, or `module:callable`, for
    which the current folder becomes importable; the callable may be nested, `module:object.attribute`. The flow's id
    is the folder's name, or the callable's last one.
    The flows' own code is imported here, and classes are instantiated, so this may block: call it before serving.

    Raises:
        FlowLoadError: a flow cannot be served, or two have the same id; it holds every problem of every target.
    """
    settings = settings or FlowSettings()
    shims.install()
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
    if Path(target).is_dir():
        return _load_folder(target, threads, settings)
    if _CALLABLE.match(target):
        return _load_callable(target, threads, settings)
    if Path(target).exists():
        raise ProblemFound("this is a file", hint=f"name the flow's folder, `{Path(target).parent}`")
    raise ProblemFound("there is no such folder", hint="a flow is a folder, or module:callable")


def _load_folder(target: str, threads: Threads, settings: FlowSettings) -> Flow:
    found = [name for name in LOADERS if (Path(target) / name).is_file()]
    if not found:
        raise ProblemFound("the folder holds neither flow.dag.yaml nor flow.flex.yaml")
    if len(found) > 1:
        raise ProblemFound(f"the folder holds {' and '.join(found)}", hint="keep the one that is to be served")
    folder = Path(os.path.normpath(Path(target).absolute()))  # a link keeps its own name, which is the flow's id
    return LOADERS[found[0]](folder / found[0], str(Path(target, found[0])), threads=threads, settings=settings)


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
