"""What is known of a knowledge base beside its index: how it was made, and of which files."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from penstock_server.flows.knowledge.splitting import Splitting
from penstock_server.flows.problems import ProblemFound, did_you_mean

FOLDER = "knowledge"
"""Where knowledge bases lie in the data folder, each in a folder of its name."""
FILE = "manifest.json"
FORMAT = 1
"""The version of the manifest and of what is made of files: another one is built anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """A file that is in the index."""

    digest: str
    """Of its bytes; empty while a build is at work on it, so that the next one takes it up again."""
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """How a knowledge base was made. It holds names of connections, and no secret."""

    name: str
    folder: str
    """The folder of its files, as it was given."""
    store: str
    """The kind of index (`stores.STORES`)."""
    store_connection: str = ""
    """The connection to the index; empty for one that lies in the data folder."""
    collection: str = ""
    """What the server calls the index."""
    connection: str = ""
    """The connection to the embedding model; empty where words are looked for."""
    model: str = ""
    dimensions: int = 0
    """How many numbers a vector has."""
    asked_dimensions: int = 0
    """How many the model is asked for; 0 for as many as it likes."""
    splitting: Splitting = field(default_factory=Splitting)
    files: Mapping[str, Indexed] = field(default_factory=dict)

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return sum(each.chunks for each in self.files.values())

    @property
    def is_complete(self) -> bool:
        """Whether no build was broken off."""
        return all(each.digest for each in self.files.values())


class Shelf:
    """The knowledge bases of a data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data / FOLDER

    @property
    def names(self) -> list[str]:
        """Those that there are."""
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(path.name for path in found if (path / FILE).is_file())

    def folder(self, name: str) -> Path:
        """Where a knowledge base lies, or would lie.

        Raises:
            ProblemFound: it is no name for one.
        """
        if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,62}", name):
            raise ProblemFound(
                f"`{name}` is no name of a knowledge base",
                hint="up to 63 of a-z, 0-9, - and _, a letter or digit first",
            )
        return self._folder / name

    def read(self, name: str) -> Manifest:
        """The manifest of a knowledge base.

        Raises:
            ProblemFound: there is none; it names those that there are. Or it cannot be read.
        """
        path = self.folder(name) / FILE
        try:
            return _manifest(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            hint = did_you_mean(name, self.names) or f"penstock knowledge build {name} FOLDER makes it"
            raise ProblemFound(f"there is no knowledge base `{name}` in {self._folder}", hint=hint) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            text = f"the manifest of the knowledge base cannot be read: {error}"
            raise ProblemFound(text, hint=f"remove {path.parent} and build it anew") from None

    def write(self, manifest: Manifest) -> None:
        """Keeps a manifest; after a crash it is the old one or the new one."""
        path = self.folder(manifest.name) / FILE
        new = path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, **asdict(manifest)}, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def _manifest(written: dict[str, object]) -> Manifest:
    if written.pop("format") != FORMAT:
        raise ValueError("it is of another version of Penstock")
    splitting, files = written.pop("splitting"), written.pop("files")
    if not isinstance(splitting, dict) or not isinstance(files, dict):
        raise TypeError("it is no manifest")
    found = {name: Indexed(**each) for name, each in files.items()}
    return Manifest(**written, splitting=Splitting(**splitting), files=found)  # type: ignore[arg-type]
