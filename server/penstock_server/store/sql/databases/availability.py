"""What is said when a database stops answering, and when it answers again: once each, however many calls meet it."""

import logging

from penstock_server.errors import RETRY_AFTER_S, StoreUnavailable

logger = logging.getLogger("penstock.store")


class Availability:
    """Whether the database answers. It decides nothing: whoever calls next tries.

    Args:
        place: the database's address, without its password.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._answers = True

    def failed(self, reason: str) -> StoreUnavailable:
        """The error for a caller. The log alone names the place."""
        if self._answers:
            self._answers = False
            logger.warning("the store %s fails: %s", self._place, reason)
        return StoreUnavailable(f"the store does not answer: {reason}", retry_after_s=RETRY_AFTER_S)

    def worked(self) -> None:
        """The database has done what it was asked."""
        if not self._answers:
            self._answers = True
            logger.info("the store %s works again", self._place)
