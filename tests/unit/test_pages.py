"""Page tokens open the page after the one they came with, and nothing else."""

import pytest

from penstock_server.errors import InvalidRequest
from penstock_server.services.pages import KEYS, ROLES, TURNS, page_token, position


def test_a_token_says_where_the_page_ended() -> None:
    token = page_token("query", (7, 1))
    assert position("query", token, (KEYS, ROLES)) == (7, 1)
    assert position("query", "") is None
    assert page_token("query", None) == ""


@pytest.mark.parametrize("made", [page_token("other", (7,)), page_token("query", (7, 8)), page_token("query", ())])
def test_a_token_of_another_query_or_of_another_form_is_refused(made: str) -> None:
    with pytest.raises(InvalidRequest, match="pageToken"):
        position("query", made)


def test_an_altered_token_is_refused() -> None:
    token = page_token("query", (7,))
    for altered in (token[:-1], token + "A", "A" + token[1:], token + "=", token + "\n", "é", " "):
        with pytest.raises(InvalidRequest, match="pageToken"):
            position("query", altered)


@pytest.mark.parametrize("made", [(2**31, 1), (-1, 1), (1, 3), (2**63 - 1, 1), (1, -(2**63))])
def test_a_token_of_numbers_that_no_position_has_is_refused(made: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="pageToken"):
        position("query", page_token("query", made), (TURNS, ROLES))
