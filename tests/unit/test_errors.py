"""Errors are complete, and small enough to travel."""

import pytest

from penstock import status
from penstock.errors import PenstockError
from penstock.status import Code
from penstock.v1.error_pb2 import ErrorReason
from penstock_server import errors
from penstock_server.errors import TABLE, Failure, InvalidRequest, to_status

METADATA_BYTES_MAX = 8 * 1024


def _all(base: type[Failure]) -> set[type[Failure]]:
    return {base, *(found for child in base.__subclasses__() for found in _all(child))}


def test_every_domain_error_is_in_the_table() -> None:
    assert _all(Failure) - {Failure} == set(TABLE)


def test_every_reason_of_the_table_is_in_the_contract() -> None:
    assert {reason for _, reason in TABLE.values()} <= set(ErrorReason.keys())


@pytest.mark.parametrize("text", ["x" * 100_000, "漢" * 100_000, "\ud800" * 10_000])
def test_an_error_fits_into_what_clients_take_as_metadata(text: str) -> None:
    failure = InvalidRequest(text, metadata={"node": text}, violations=[(text, text)] * 100)
    found = to_status(failure)
    percent_encoded = sum(1 if 0x20 <= byte < 0x7F else 3 for byte in found.message.encode())
    assert percent_encoded + len(found.SerializeToString()) * 4 / 3 < METADATA_BYTES_MAX


def test_a_client_reads_what_the_server_wrote() -> None:
    failure = errors.Draining("later", metadata={"a": "b"}, violations=[("f", "v")], retry_after_s=1.2)
    error = PenstockError.of_status(to_status(failure))
    assert (error.code, error.reason, error.message) == (Code.UNAVAILABLE, "DRAINING", "later")
    assert (error.metadata, error.violations, error.retry_after_s) == ({"a": "b"}, (("f", "v"),), 2)


def test_an_error_without_details_reads_as_one_without() -> None:
    bare = status.Status(code=5, message="gone")
    error = PenstockError.of_status(bare)
    assert (error.reason, error.metadata, error.violations, error.retry_after_s) == ("", {}, (), None)
