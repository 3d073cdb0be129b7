"""Session and user ids have the form that the contract gives them."""

import pytest

from penstock_server.errors import InvalidRequest
from penstock_server.ids import new_id
from penstock_server.metadata import by_name, idempotency_key, session_id, single, user_id


@pytest.mark.parametrize("value", ["a" * 32, "Z9_-:" * 51])
def test_session_ids_of_the_right_form_pass(value: str) -> None:
    assert session_id({"chat-session-id": value}) == value


@pytest.mark.parametrize("value", ["", "a" * 31, "a" * 256, "a" * 32 + "\n", "a" * 32 + " ", "é" * 32, "a" * 32 + "/"])
def test_other_session_ids_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        session_id({"chat-session-id": value})


def test_an_assigned_session_id_has_the_form_and_is_new() -> None:
    assigned = {new_id() for _ in range(1000)}
    assert len(assigned) == 1000
    assert all(session_id({"chat-session-id": value}) == value for value in assigned)


def test_no_session_is_none() -> None:
    assert session_id({}) is None


@pytest.mark.parametrize("value", ["", " a", "a ", "x" * 256, "é"])
def test_idempotency_keys_of_another_form_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="idempotency-key"):
        idempotency_key({"idempotency-key": value})


@pytest.mark.parametrize("value", ["a", "A b", "%E4%BD%A0", "x" * 255, "!~"])
def test_user_ids_of_the_right_form_pass(value: str) -> None:
    assert user_id({"chat-user-id": value}) == value


@pytest.mark.parametrize("value", ["", " a", "a ", "x" * 256, "é", "a\tb", "a\n", "\x7f"])
def test_other_user_ids_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        user_id({"chat-user-id": value})


def test_no_user_is_the_empty_one() -> None:
    assert user_id({}) == ""


def test_a_name_that_is_given_more_than_once_is_refused() -> None:
    sent = by_name([("chat-user-id", "a"), ("x", "1"), ("chat-user-id", "b")])
    assert single(sent, "x") == "1"
    with pytest.raises(InvalidRequest, match="more than once"):
        user_id(sent)
