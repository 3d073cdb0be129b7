"""What the subjects are asked, and the check that their answers are right."""

import http.client
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from urllib.parse import urlsplit

import grpc

from benchmarks.flows import TOKENS
from benchmarks.subjects import TOKEN, Subject
from penstock.v1.flow_pb2 import InvokeRequest
from penstock.v1.flow_pb2_grpc import FlowServiceStub
from penstock.v1.run_pb2 import Run

TEXT = "How long does a service go on answering after it was told to stop, and where is that set?"
"""What the echo flow is asked."""

ANSWER_TIMEOUT_S = 10.0


class WrongAnswer(Exception):
    """A subject answered something else than it was asked for; nothing about its speed matters then."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, the same for every subject that is compared."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    check: Callable[[bytes], None]
    """Raises WrongAnswer unless it is given the right body."""
    units: int = 1
    """How many units (requests, tokens) one call counts for."""
    is_grpc: bool = False

    def verify(self, subject: Subject) -> int:
        """Asks once, checks the answer and returns the size of its body.

        Raises:
            WrongAnswer: the subject answered with an error or with another content.
        """
        body = self.ask(subject)
        try:
            self.check(body)
        except (ValueError, KeyError, TypeError) as error:
            raise WrongAnswer(f"{subject.name}, {self.path}: {error!r} in {body[:500]!r}") from error
        return len(body)

    def ask(self, subject: Subject) -> bytes:
        """Asks once with an ordinary client and returns the body. Raises WrongAnswer unless the status is a success."""
        return self._ask_grpc(subject) if self.is_grpc else self._ask_http(subject)

    def raw(self, url: str) -> bytes:
        """The request as bytes of HTTP/1.1."""
        headers = (("host", urlsplit(url).netloc), *self.headers, ("content-length", str(len(self.body))))
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body

    def _ask_http(self, subject: Subject) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(subject.http).netloc, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("POST", self.path, self.body, dict(self.headers))
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise WrongAnswer(f"{subject.name}, {self.path}: {response.status} {body[:500]!r}")
        return body

    def _ask_grpc(self, subject: Subject) -> bytes:
        """The answer with its length prefix, as it counts on the wire."""
        metadata = tuple(pair for pair in self.headers if pair[0] == "authorization")
        with grpc.insecure_channel(subject.grpc) as channel:
            try:
                request = InvokeRequest.FromString(self.body[5:])
                run = FlowServiceStub(channel).Invoke(request, metadata=metadata, timeout=ANSWER_TIMEOUT_S)
            except grpc.RpcError as error:
                raise WrongAnswer(f"{subject.name}, {self.path}: {error}") from error
        return _prefixed(run.SerializeToString())


def echo() -> Call:
    """The hosted services' call: inputs in, outputs out."""
    return Call(path="/", body=_json({"text": TEXT}), headers=_headers("application/json"), check=_is_echo)


def run(flow: str = "echo", inputs: Mapping[str, object] = MappingProxyType({"text": TEXT})) -> Call:
    """The call that Envoy can transcode, too: the request in, the Run out."""
    return Call(
        path=f"/v1/flows/{flow}:invoke",
        body=_json({"inputs": dict(inputs)}),
        headers=_headers("application/json"),
        check=_is_run if flow == "echo" else _is_any,
    )


def graph(path: str) -> Call:
    """A flow of `graphs/`: `path` is where the server takes the default flow's inputs."""
    return Call(path=path, body=_json({"text": TEXT}), headers=_headers("application/json"), check=_is_graph)


def stream(flow: str, inputs: Mapping[str, object], *, view: str = "SIMPLE") -> Call:
    """A flow's stream as server-sent events; `view` is SIMPLE (deltas alone) or FULL."""
    return Call(
        path=f"/v1/flows/{flow}:invokeStream",
        body=_json({"inputs": inputs, "view": view}),
        headers=_headers("text/event-stream"),
        check=_is_any,
    )


def tokens(view: str) -> Call:
    """The stream of `TOKENS` tokens."""
    return replace(stream("tokens", {}, view=view), check=_is_tokens, units=TOKENS)


def grpc_echo() -> Call:
    """The unary call over gRPC."""
    return _grpc("echo", "text", _is_grpc_run)


def grpc_chat() -> Call:
    """The unary call of a chat flow over gRPC; each begins a session."""
    return _grpc("chat", "question", _is_grpc_answer)


def _grpc(flow: str, input: str, check: Callable[[bytes], None]) -> Call:
    request = InvokeRequest(flow=flow)
    request.inputs.fields[input].string_value = TEXT
    headers = (("content-type", "application/grpc"), ("te", "trailers"), ("authorization", f"Bearer {TOKEN}"))
    return Call(
        path="/penstock.v1.FlowService/Invoke",
        body=_prefixed(request.SerializeToString()),
        headers=headers,
        check=check,
        is_grpc=True,
    )


def _is_any(body: bytes) -> None:
    """Whatever reads the answer checks it itself."""


def _is_echo(body: bytes) -> None:
    _expect(json.loads(body)["output"], TEXT)


def _is_graph(body: bytes) -> None:
    """The fan answers with the text of each of its nodes; all other graphs with the text."""
    answer = json.loads(body)["answer"]
    _expect(answer.replace(TEXT, "").strip(), "")
    _expect(TEXT in answer, True)


def _is_run(body: bytes) -> None:
    run = json.loads(body)
    _expect(run["status"], "SUCCEEDED")
    _expect(run["outputs"]["output"], TEXT)


def _is_grpc_run(body: bytes) -> None:
    run = Run.FromString(body[5:])
    _expect(run.status, Run.SUCCEEDED)
    _expect(run.outputs.fields["output"].string_value, TEXT)


def _is_grpc_answer(body: bytes) -> None:
    run = Run.FromString(body[5:])
    _expect(run.status, Run.SUCCEEDED)
    _expect(run.outputs.fields["answer"].string_value, TEXT)


def _is_tokens(body: bytes) -> None:
    data = [json.loads(line[5:]) for line in body.decode().splitlines() if line.startswith("data:")]
    found = [text for frame in data for text in _outputs(frame)]
    _expect("".join(found), "".join(f"token{number:03} " for number in range(TOKENS)))


def _outputs(frame: object) -> Iterator[str]:
    """The chunks in a frame, however deep its form hides them (simple, full, Envoy's batches)."""
    if isinstance(frame, list):
        for item in frame:
            yield from _outputs(item)
    if isinstance(frame, dict):
        if isinstance(text := frame.get("output"), str):
            yield text
        for item in frame.values():
            yield from _outputs(item)


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise ValueError(f"{found!r} is not {wanted!r}")


def _headers(accept: str) -> tuple[tuple[str, str], ...]:
    return ("content-type", "application/json"), ("accept", accept), ("authorization", f"Bearer {TOKEN}")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _prefixed(message: bytes) -> bytes:
    """A message as gRPC frames it: not compressed, its length in four bytes."""
    return struct.pack(">BI", 0, len(message)) + message
