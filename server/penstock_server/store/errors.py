"""Why a store cannot be used at all. What goes wrong later is `penstock_server.errors.StoreUnavailable`."""


class StoreError(Exception):
    """The store cannot be opened; the message says why and what to do, and shows no password."""


class NotConnected(StoreError):
    """The database cannot be reached, or does not let us in.

    Attributes:
        reason: why, without where.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"the store {place} cannot be opened: {reason}")
        self.reason = reason
