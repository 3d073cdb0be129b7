"""Only a known token passes, and every other is told why."""

import pytest

from penstock_server.auth import ANONYMOUS, Authenticator
from penstock_server.errors import TokenInvalid

KNOWN = Authenticator(["first", "second"])


def test_known_tokens_are_told_apart_without_telling_them() -> None:
    first, second = KNOWN.authenticate("Bearer first"), KNOWN.authenticate("bearer  second ")
    assert first != second
    assert "first" not in first.name


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Basic first", "first", "Bearer third", "Bearer first second"]
)
def test_everything_else_is_refused(value: str | None) -> None:
    with pytest.raises(TokenInvalid):
        KNOWN.authenticate(value)


def test_without_tokens_everybody_is_let_in() -> None:
    assert Authenticator([]).authenticate(None) == ANONYMOUS
