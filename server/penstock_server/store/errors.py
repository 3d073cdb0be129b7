"""Why a store cannot be used at all. What goes wrong later is `penstock_server.errors.StoreUnavailable`."""


class StoreError(Exception):
    """The store cannot be opened; the message says why and what to do, and shows no password."""
