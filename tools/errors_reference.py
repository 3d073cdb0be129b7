"""Writes docs/errors.md out of the comments of `penstock.v1.ErrorReason`, to standard output.

usage: python tools/errors_reference.py DESCRIPTORS
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

PAGE = """\
# Errors

<!-- Written by `make generate` from proto/penstock/v1/error.proto. -->

Every error is a `google.rpc.Status`. Over gRPC it travels in the trailing metadata, over HTTP it is the body:

```json
{{"error": {{"code": 404, "status": "NOT_FOUND", "message": "…", "details": [{{
  "@type": "type.googleapis.com/google.rpc.ErrorInfo",
  "reason": "FLOW_NOT_FOUND", "domain": "penstock", "metadata": {{"flow": "docs-q"}}
}}]}}}}
```

Programs decide by `reason`; `message` is for people and may change. `details` may also hold a `BadRequest`, which names
the wrong fields, and a `RetryInfo`, which says when another try makes sense (over HTTP, `Retry-After` says the same).

| `reason` | status | HTTP | when |
|---|---|---|---|
{rows}
"""

STATUS = re.compile(r"\s*Status (?P<status>[A-Z_]+) \(HTTP (?P<http>\d{3})\)\.$")
"""How the comment of a reason ends."""


def main() -> None:
    """Reads the descriptors and prints the page."""
    descriptors = FileDescriptorSet.FromString(Path(sys.argv[1]).read_bytes())
    file = next(file for file in descriptors.file if file.name == "penstock/v1/error.proto")
    sys.stdout.write(PAGE.format(rows="\n".join(_rows(file))))


def _rows(file: FileDescriptorProto) -> Iterator[str]:
    enum_index, enum = next((i, enum) for i, enum in enumerate(file.enum_type) if enum.name == "ErrorReason")
    for value, comment in _values(file, enum_index, enum):
        if value == "ERROR_REASON_UNSPECIFIED":
            continue
        match = STATUS.search(comment)
        if match is None:
            raise SystemExit(f"the comment of {value} does not end with 'Status X (HTTP n).'")
        when = comment[: match.start()].replace("|", "\\|")
        yield f"| `{value}` | `{match['status']}` | {match['http']} | {when} |"


def _values(file: FileDescriptorProto, index: int, enum: EnumDescriptorProto) -> Iterator[tuple[str, str]]:
    """The enum's values with their comments, each on one line."""
    path = (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, index, EnumDescriptorProto.VALUE_FIELD_NUMBER)
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for number, value in enumerate(enum.value):
        yield value.name, " ".join(comments.get((*path, number), "").split())


if __name__ == "__main__":
    main()
