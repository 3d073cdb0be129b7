"""Text as tokens that no database interprets."""

import re
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from penstock_server.runs.events import RunStatus
from penstock_server.store.sql.history import words

TOKEN = re.compile(r"x[a-z0-9]{2,59}")
TEXT = st.text(st.characters(codec="utf-8"))


def of_message(text: str) -> list[str]:
    return words.of_message(text, user="", session="", flow="", status=None).split()


@given(TEXT, TEXT, TEXT)
def test_every_token_is_one_for_every_database(text: str, user: str, flow: str) -> None:
    tokens = words.of_message(text, user=user, session="s", flow=flow, status=RunStatus.FAILED).split(" ")
    assert all(TOKEN.fullmatch(token) for token in tokens)
    assert len(set(tokens)) == len(tokens)


@given(TEXT)
def test_a_message_is_found_by_itself(text: str) -> None:
    assert set(words.of_query(text)) <= set(of_message(text))


@given(TEXT, TEXT)
def test_what_stands_around_a_word_does_not_matter(before: str, after: str) -> None:
    assert set(words.of_query("Straße 水管 x")) <= set(of_message(f"{before} Straße 水管 x {after}"))


@given(TEXT)
def test_case_does_not_matter(text: str) -> None:
    assert set(of_message(text.lower())) <= set(of_message(text)) | set(of_message(text.upper()))


def test_ids_are_no_words() -> None:
    scope = words.of_message("", user="alice", session="alice", flow="alice", status=RunStatus.FAILED).split()
    assert len(set(scope)) == 4
    assert not set(scope) & set(of_message(f"alice FAILED {' '.join(scope)}"))


def test_a_mebibyte_takes_no_longer_than_what_is_indexed_of_it() -> None:
    text = "".join(chr(0x4E00 + (7919 * number) % 20_000) for number in range(2**20))
    start = perf_counter()
    of_message(text)
    assert perf_counter() - start < 1.0
