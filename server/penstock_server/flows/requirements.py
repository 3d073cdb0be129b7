"""The `requirements.txt` of a flow's folder: what it asks for is compared with what is installed."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from penstock_server.flows.shims import ANSWERED

FILE = "requirements.txt"

FILE_BYTES_MAX = 256 * 1024
"""How much of the file is read."""


def missing(folder: Path) -> list[str]:
    """The requirements that are not met here, as the file writes them; those whose imports we answer count as met."""
    return [str(each) for each in _requirements(folder) if not _is_met(each)]


def hint_of(error: BaseException, folder: Path) -> str:
    """What to do where an import failed in a folder whose requirements are not met."""
    if not isinstance(error, ImportError) or not (wanted := missing(folder)):
        return ""
    return f"{FILE} asks for {', '.join(wanted)}: pip install -r {FILE}"


def _requirements(folder: Path) -> list[Requirement]:
    """The requirements that apply here; options, addresses and what cannot be read are pip's business."""
    found: list[Requirement] = []
    for line in _lines(folder / FILE):
        try:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                found.append(requirement)
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue
    return found


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        return []
    with file.open("rb") as stream:
        text = stream.read(FILE_BYTES_MAX).decode("utf-8-sig", errors="replace")
    return [_COMMENT.sub("", line).strip() for line in text.replace("\\\n", " ").splitlines()]


def _is_met(requirement: Requirement) -> bool:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return _DASHES.sub("-", requirement.name.lower()) in ANSWERED
    return requirement.specifier.contains(installed, prereleases=True)


_COMMENT = re.compile(r"(^|\s)(#.*|--\S.*)$")
_DASHES = re.compile(r"[-_.]+")
