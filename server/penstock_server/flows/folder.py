"""A flow's folder, with all that its code finds there while the flow is served."""

import logging
import weakref
from contextlib import ExitStack
from pathlib import Path

from penstock_server.flows import requirements, snapshot
from penstock_server.flows.connections.connections import load
from penstock_server.flows.document import Item, Problems
from penstock_server.flows.includes import Merged
from penstock_server.flows.modules import FlowModules
from penstock_server.flows.settings import FlowSettings
from penstock_server.flows.variables import Variables

logger = logging.getLogger("penstock.flows")


class FlowFolder:
    """The files, modules, connections and environment variables of one flow.

    Attributes:
        path: where its files are: the folder itself, or a copy that holds what it includes as well.
        modules: the modules of its Python files.
        connections: the connections that it may name.
        snapshot: names the version of its files.
    """

    def __init__(self, folder: Path, yaml: Item, problems: Problems, settings: FlowSettings) -> None:
        """Prepares a folder, before any of its code is executed.

        Args:
            folder: the folder, absolute.
            yaml: its document.
            problems: where what is wrong is added.
            settings: the limits.
        """
        with ExitStack() as stack:
            self.connections = load(folder, explicit=settings.connections, data=Path(settings.data))
            files = Merged(folder, yaml.get("additional_includes"), problems)
            stack.callback(files.close)
            variables = Variables()
            stack.callback(variables.close)
            variables.set(yaml.get("environment_variables"), self.connections, problems)
            self.path = files.path
            self.snapshot = snapshot.of_folder(self.path, settings.snapshot_bytes_max)
            self.modules = FlowModules(self.path)
            stack.callback(self.modules.close)
            self._finalizer = weakref.finalize(self, stack.pop_all().close)
        missing = requirements.missing(self.path)
        if missing:
            text = "%s: %s asks for packages that are not installed here: %s (pip install -r %s)"
            logger.warning(text, problems.file, requirements.FILE, ", ".join(missing), folder / requirements.FILE)

    def close(self) -> None:
        """Lets go of all of it; that happens by itself where nobody holds the folder any more."""
        self._finalizer()
