"""Makes a case's call over HTTP."""

import json
from typing import Any

import requests
from tests.contract.matching import Answer
from tests.service import TOKEN

TIMEOUT_S = 20.0
STREAM_TYPES = ("text/event-stream", "application/x-ndjson")


def call(url: str, case: dict[str, Any]) -> Answer:
    """The answer to the case's call."""
    wanted = case["http"]
    method, path = wanted["request"].split(" ", 1)
    response = requests.request(
        method, url + path, data=_body(wanted), headers=_headers(case, wanted), timeout=TIMEOUT_S, allow_redirects=False
    )
    headers = {key.lower(): value for key, value in response.headers.items()}
    response.encoding = "utf-8"
    media_type = headers.get("content-type", "").partition(";")[0]
    if media_type in STREAM_TYPES:
        events = _frames(response.text) if media_type == STREAM_TYPES[0] else _lines(response.text)
        return _answer(wanted, response.status_code, headers, _stream_error(events), events=events)
    body = response.json() if response.text else None
    # A run that failed is answered with its error, by a call that did not.
    return _answer(wanted, response.status_code, headers, None if response.ok else body, response=body)


def _answer(wanted: dict[str, Any], status: int, headers: dict[str, str], body: Any, **more: Any) -> Answer:
    error = body.get("error", {}) if isinstance(body, dict) else {}
    details = error.get("details", []) if isinstance(error, dict) else []
    by_type = {detail["@type"].rpartition(".")[2]: detail for detail in details}
    delay = by_type.get("RetryInfo", {}).get("retryDelay")
    return Answer(
        expected=wanted,
        status=status,
        headers=headers,
        reason=by_type.get("ErrorInfo", {}).get("reason", ""),
        message=error.get("message", "") if isinstance(error, dict) else "",
        violations=[item["field"] for item in by_type.get("BadRequest", {}).get("fieldViolations", [])],
        retry_after=int(delay.removesuffix("s")) if delay else None,
        **more,
    )


def _body(wanted: dict[str, Any]) -> bytes | None:
    if "raw" in wanted:
        return wanted["raw"].encode()
    if "pad_bytes" in wanted:
        return json.dumps({"text": "x" * wanted["pad_bytes"]}).encode()
    return json.dumps(wanted["body"]).encode() if "body" in wanted else None


def _headers(case: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
    token = case.get("token", TOKEN)
    authorization = {"Authorization": token if " " in str(token) else f"Bearer {token}"} if token else {}
    typed = {"Content-Type": "application/json"} if {"body", "raw", "pad_bytes"} & set(wanted) else {}
    sent = authorization | typed | case.get("metadata", {}) | wanted.get("send", {})
    return {key: str(value) for key, value in sent.items() if value is not None}


def _frames(text: str) -> list[Any]:
    """The frames of an event stream; each has its data, and its event and id where they were sent."""
    assert text.endswith("\n\n"), text
    frames = []
    for block in text[:-2].split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            frames.append(fields | {"data": json.loads(fields["data"])})
    return frames


def _lines(text: str) -> list[Any]:
    assert text.endswith("\n"), text
    return [json.loads(line) for line in text.splitlines() if line]


def _stream_error(events: list[Any]) -> Any:
    return events[-1]["data"] if events and events[-1].get("event") == "error" else None
