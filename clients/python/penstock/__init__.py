"""Client of a Penstock service: `Client`, its errors, and the generated wire types in `penstock.v1`.

`penstock.flow` holds what the code of a flow may import.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client import Client
    from penstock.errors import PenstockError

__version__ = "0.1.0"
__all__ = ["Client", "PenstockError", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: a flow's code imports `penstock.flow` and needs no gRPC for that.
    if name == "Client":
        from penstock.client import Client

        return Client
    if name == "PenstockError":
        from penstock.errors import PenstockError

        return PenstockError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
