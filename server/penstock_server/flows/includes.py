"""The `additional_includes` of flows: files and folders of elsewhere that count as files of the flow's folder."""

import shutil
import tempfile
from pathlib import Path

from penstock_server.flows.document import Item, Problems

IGNORED = shutil.ignore_patterns("__pycache__", ".git", ".venv", ".promptflow")
"""What is not brought along."""


class Merged:
    """A flow's folder with what it includes.

    Files are copied to a temporary folder, as in prompt flow: code finds its neighbours, by import or by path, whatever
    it is. A folder that includes nothing is used as it is.

    Attributes:
        path: the folder to be used, absolute.
    """

    def __init__(self, folder: Path, includes: Item | None, problems: Problems) -> None:
        """Brings the files together.

        Args:
            folder: the flow's own.
            includes: the paths, relative to that or absolute; None where there are none.
            problems: where a path that leads nowhere is added.
        """
        self.path = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if includes is None:
            return
        if not isinstance(includes.value, list):
            problems.add(includes, "`additional_includes` must be a list of paths")
        if not isinstance(includes.value, list) or not includes.value:
            return
        self._temporary = tempfile.TemporaryDirectory(prefix="penstock-flow-")
        self.path = Path(self._temporary.name).resolve() / folder.name
        shutil.copytree(folder, self.path, ignore=IGNORED)
        for item in includes.value:
            _include(folder, item, self.path, problems)

    def close(self) -> None:
        """Removes the copies."""
        if self._temporary is not None:
            self._temporary.cleanup()


def _include(folder: Path, item: Item, target: Path, problems: Problems) -> None:
    source = folder / str(item.plain())
    try:
        source = source.resolve()
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=IGNORED, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy2(source, target / source.name)
        elif source.suffix == ".zip" and source.with_suffix("").is_dir():
            shutil.make_archive(str(target / source.stem), "zip", source.parent, source.stem)
        else:
            problems.add(item, f"`additional_includes`: there is no file or folder `{item.plain()}`")
    except (OSError, ValueError) as error:
        problems.add(item, f"`additional_includes`: `{item.plain()}` cannot be read: {error}")
