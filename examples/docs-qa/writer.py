"""Says who writes the answer."""

import os
from dataclasses import dataclass
from typing import Any

from penstock.connections import OpenAIConnection
from penstock.flow import tool


@dataclass(frozen=True, kw_only=True)
class Writer:
    is_model: bool
    """Whether a model writes the answer; otherwise the best passage is quoted."""
    model: str


@tool
def writer(passages: list[dict[str, Any]], connection: OpenAIConnection | None) -> Writer:
    """A model, where there is one to ask, and something that it can write the answer out of."""
    is_model = connection is not None and bool(passages)
    return Writer(is_model=is_model, model=os.environ.get("OPENAI_MODEL", "gpt-4o-mini"))
