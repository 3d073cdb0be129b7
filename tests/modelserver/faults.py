"""What can go wrong, by the name of the model that is asked for."""

import re
from dataclasses import dataclass, field
from typing import Any

CONTEXT_TOKENS_MAX = 4000
KNOWN_MODELS = (
    "echo roles tools bad-arguments slow hang hang-midway cut cut-first malformed malformed-json error-midway no-end"
    " filtered-answer empty short"
)
RATE = re.compile(r"busy-(?P<status>\d+)-(?P<times>\d+)(?:-after-(?P<after>[\d.]+))?")
"""`busy-429-2-after-0.5` is 429 twice, with `Retry-After: 0.5`, then answers; `busy-503-9` has no header."""
KNOWN = re.compile(rf"{'|'.join(KNOWN_MODELS.split())}|count-\d+(?:-at-\d+)?|busy-.*")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An error answer."""

    status: int
    code: str | None
    message: str
    type: str = "invalid_request_error"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The body, in the form of the protocol."""
        return {"error": {"message": self.message, "type": self.type, "param": None, "code": self.code}}


def refusal(model: str, key: str, keys: frozenset[str], token_count: int, earlier: int) -> Refusal | None:
    """Why this request is refused; None where it is answered.

    Args:
        key: the key that came with it.
        keys: those that count; any but `wrong…` does if there are none.
        token_count: how long the request is.
        earlier: how many requests for this model came before.
    """
    if key.startswith("wrong") or (keys and key not in keys):
        return Refusal(status=401, code="invalid_api_key", message=f"Incorrect API key provided: {key}.")
    if model == "quota":
        return Refusal(status=429, code="insufficient_quota", message="You exceeded your quota.", type="quota")
    if model == "filter":
        return Refusal(status=400, code="content_filter", message="The prompt was filtered.")
    if model == "context" or token_count > CONTEXT_TOKENS_MAX:
        text = f"This model's maximum context length is {CONTEXT_TOKENS_MAX} tokens."
        return Refusal(status=400, code="context_length_exceeded", message=text)
    if model == "html":
        return Refusal(status=502, code=None, message="<html>Bad Gateway</html>")
    busy = RATE.fullmatch(model)
    if busy and earlier < int(busy["times"]):
        headers = {"Retry-After": busy["after"]} if busy["after"] else {}
        return Refusal(status=int(busy["status"]), code="busy", message="Slow down.", headers=headers)
    if not KNOWN.fullmatch(model):
        return Refusal(status=404, code="model_not_found", message=f"The model `{model}` does not exist.")
    return None
