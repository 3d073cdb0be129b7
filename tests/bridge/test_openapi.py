"""`/openapi.json`: valid, complete, and typed by the flows that are served."""

from typing import Any

import pytest
from openapi_spec_validator import validate

from penstock import status as wire
from penstock.status import Code
from penstock.v1 import flow_pb2
from penstock.values import to_struct
from penstock_bridge.methods import contract_methods, descriptor_set
from penstock_bridge.transcoder import routes

FILTER = {"type": "object", "properties": {"tag": {"type": "string"}, "next": {"$ref": "#/$defs/Filter"}}}


def flow(name: str, **extra: Any) -> flow_pb2.Flow:
    inputs = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "question": {"type": "string", "default": "why?"},
            "filter": {"$ref": "#/$defs/Filter"},
            "pet": {
                "oneOf": [{"$ref": "#/$defs/Cat"}],
                "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat"}},
            },
        },
        "required": ["question"],
        "additionalProperties": False,
        "$defs": {"Filter": FILTER, "Cat": {"type": "object"}},
        **extra,
    }
    outputs = {"type": "object", "properties": {"answer": {"type": "string"}}}
    return flow_pb2.Flow(
        flow=name,
        kind=flow_pb2.Flow.STANDARD,
        description=f"What {name} does.",
        input_schema=to_struct(inputs),
        output_schema=to_struct(outputs),
        streaming_outputs=["answer"],
    )


async def fetch(web, bridge, path="/openapi.json", **options):
    async with web.get(bridge, path, token=None, **options) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_the_document_is_valid_with_flows_and_without(bridge, server, web):
    for flows in ([], [flow("docs-qa")], [flow("a b/流"), flow("a_b__"), flow("docs-qa")]):
        server.flows = flows
        document = await fetch(web, bridge)
        validate(document)
        assert document["openapi"] == "3.1.0"


async def test_every_route_is_described_from_the_contracts_comments(bridge, web):
    document = await fetch(web, bridge)
    for route in routes(contract_methods(descriptor_set())):
        operation = document["paths"][route.binding.path][route.binding.http_method.lower()]
        assert operation["summary"]
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}
    listed = document["paths"]["/v1/flows"]["get"]
    assert listed["summary"] == "Lists the flows that this service serves, the default flow first"
    assert listed["parameters"][0]["description"].startswith("How many flows to return at most")
    assert document["components"]["schemas"]["Run"]["properties"]["createTime"]["format"] == "date-time"
    assert "QUEUED" in document["components"]["schemas"]["Run.Status"]["enum"]


async def test_the_default_flow_types_the_root_and_run(bridge, server, web):
    server.flows = [flow("docs-qa"), flow("other")]
    document = await fetch(web, bridge)
    root = document["paths"]["/"]["post"]
    assert root["requestBody"]["required"] is True
    body = root["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/docs-qa.inputs"}
    answer = root["responses"]["200"]["content"]
    assert answer["application/json"]["schema"] == {"$ref": "#/components/schemas/docs-qa.outputs"}
    assert document["paths"]["/run"]["post"]["requestBody"]["content"]["application/json"]["schema"] == body
    assert set(answer) == {"application/json", "text/event-stream", "application/x-ndjson"}
    assert answer["text/event-stream"]["x-events"]["done"] == {"$ref": "#/components/schemas/StreamDone"}
    names = [parameter.get("name", parameter.get("$ref")) for parameter in root["parameters"]]
    assert "options.onDisconnect" in names
    assert "#/components/parameters/Chat-Session-Id" in names


async def test_paths_that_take_a_flows_inputs_take_them_as_a_form(bridge, server, web):
    image = {"anyOf": [{"type": "string"}, {"type": "object"}], "description": "An image.", "x-media": "image"}
    properties = {
        "question": {"type": "string"},
        "any": {},
        "top": {"type": "integer"},
        "filter": {"$ref": "#/$defs/Filter"},
        "image": image,
        "maybe": {"anyOf": [image, {"type": "null"}], "default": None},
        "files": {"type": "array", "items": image | {"x-media": "file"}},
    }
    server.flows = [flow("docs-qa", properties=properties)]
    document = await fetch(web, bridge)
    validate(document)
    binary = {"type": "string", "format": "binary"}
    for path in ("/", "/run"):
        form = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]
        assert form["schema"]["required"] == ["question"]
        assert form["schema"]["properties"] == {
            "question": {"type": "string"},
            "any": {},
            "top": {"type": "integer"},
            "filter": {"$ref": "#/components/schemas/docs-qa.inputs/$defs/Filter"},
            "image": binary | {"description": "An image."},
            "maybe": binary,
            "files": {"type": "array", "items": binary},
        }
        assert form["encoding"] == {name: {"contentType": "application/json"} for name in ("top", "filter")}
    takers = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if "multipart/form-data" in operation.get("requestBody", {}).get("content", {})
    }
    assert takers == {"/", "/run"}


async def test_every_flow_has_paths_of_its_own(bridge, server, web):
    server.flows = [flow("docs-qa"), flow("other")]
    document = await fetch(web, bridge)
    for name in ("docs-qa", "other"):
        for verb in ("invoke", "invokeStream"):
            operation = document["paths"][f"/v1/flows/{name}:{verb}"]["post"]
            inputs = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]["inputs"]
            assert inputs == {"$ref": f"#/components/schemas/{name}.inputs"}
            assert f"What {name} does." in operation["description"]
            assert "flow" not in [parameter.get("name") for parameter in operation["parameters"]]
    stream = document["paths"]["/v1/flows/docs-qa:invokeStream"]["post"]["responses"]["200"]["content"]
    assert set(stream) == {"text/event-stream", "application/x-ndjson"}
    assert "event: output_delta" in stream["text/event-stream"]["example"]


async def test_references_of_a_flows_schema_hold_and_its_data_is_kept(bridge, server, web):
    server.flows = [flow("docs-qa")]
    schemas = (await fetch(web, bridge))["components"]["schemas"]
    inputs = schemas["docs-qa.inputs"]
    root = "#/components/schemas/docs-qa.inputs/$defs/"
    assert inputs["properties"]["filter"] == {"$ref": root + "Filter"}
    assert inputs["$defs"]["Filter"]["properties"]["next"] == {"$ref": root + "Filter"}
    assert inputs["properties"]["pet"]["discriminator"]["mapping"] == {"cat": root + "Cat"}
    assert "$schema" not in inputs


async def test_what_only_looks_like_a_reference_is_kept(bridge, server, web):
    kept = {"$ref": "#/kept"}
    properties = {"$ref": {"type": "string", "const": "#/kept"}, "default": {"default": kept, "enum": [kept]}}
    server.flows = [flow("docs-qa", properties=properties)]
    schemas = (await fetch(web, bridge))["components"]["schemas"]
    assert schemas["docs-qa.inputs"]["properties"] == properties


async def test_bearer_auth_is_asked_for_where_the_contract_asks(bridge, web):
    document = await fetch(web, bridge)
    assert document["components"]["securitySchemes"] == {"bearerAuth": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"bearerAuth": []}]
    assert {} in document["paths"]["/v1/flows"]["get"]["security"]
    assert "security" not in document["paths"]["/"]["post"]


async def test_servers_is_the_base_path(start_bridge, web):
    bridge = await start_bridge(base_path="/api/predict/my_flow")
    document = await fetch(web, bridge, "/api/predict/my_flow/openapi.json")
    assert document["servers"] == [{"url": "/api/predict/my_flow"}]


async def test_flows_are_listed_with_the_callers_own_credential(bridge, server, web, speak, reason_of):
    async with web.get(bridge, "/openapi.json", token="mine") as answer:
        assert answer.status == 200
    assert server.seen[0].metadata["authorization"] == "Bearer mine"
    server.list_error = wire.build(Code.UNAUTHENTICATED, "TOKEN_INVALID", "No")
    async with web.get(bridge, "/openapi.json", token=None) as answer:
        assert reason_of(await answer.json()) == (401, "UNAUTHENTICATED", "TOKEN_INVALID")


async def test_a_flow_that_appears_appears_in_the_document(bridge, server, web):
    assert "/v1/flows/late:invoke" not in (await fetch(web, bridge))["paths"]
    server.flows = [flow("late")]
    assert "/v1/flows/late:invoke" in (await fetch(web, bridge))["paths"]


@pytest.mark.parametrize("name", ["a/b", "x y", "流", "a:invoke", "%"])
async def test_a_flows_path_is_encoded_as_it_must_be_sent(bridge, server, web, name):
    server.flows = [flow(name)]
    document = await fetch(web, bridge)
    paths = [path for path in document["paths"] if path.endswith(":invoke") and "{" not in path]
    async with web.post(bridge, paths[0], json={}) as answer:
        assert (await answer.json())["flow"] == name


async def test_a_stream_that_resumes_takes_the_header_that_browsers_send(bridge, web):
    document = await fetch(web, bridge)
    header = {"$ref": "#/components/parameters/Last-Event-ID"}
    takers = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if header in operation["parameters"]
    }
    assert takers == {"/v1/runs/{run}:watch"}
    operation = document["paths"]["/v1/runs/{run}:watch"]["get"]
    names = [parameter.get("name") for parameter in operation["parameters"]]
    assert names[:3] == ["run", "afterSequence", "view"]
    described = document["components"]["parameters"]["Last-Event-ID"]
    assert (described["in"], described["schema"]["pattern"]) == ("header", "^[0-9]+$")
    assert "comes before the parameter" in described["description"]


async def test_a_watched_run_is_described_event_by_event(bridge, web):
    document = await fetch(web, bridge)
    content = document["paths"]["/v1/runs/{run}:watch"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream", "application/x-ndjson"]
    events = content["text/event-stream"]["x-events"]
    assert events["run_finished"] == {"$ref": "#/components/schemas/RunFinished"}
    schemas = document["components"]["schemas"]
    for name in ("done", "error"):
        assert "lostAfter" in schemas[events[name]["$ref"].rpartition("/")[2]]["properties"]


async def test_an_answer_before_its_work_is_done_is_described(bridge, server, web):
    server.flows = [flow("docs-qa")]
    document = await fetch(web, bridge)
    takers = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if accepted := operation["responses"].get("202"):
                takers.add(path)
                assert set(accepted["headers"]) == {"Location", "Chat-Session-Id", "Penstock-Run-Id"}
                assert accepted["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Run"}}}
                assert "options.background" in accepted["description"]
    assert takers == {"/", "/run", "/v1/flows/{flow}:invoke", "/v1/flows/docs-qa:invoke"}


async def test_an_export_is_described_record_by_record(bridge, web):
    document = await fetch(web, bridge)
    operation = document["paths"]["/v1/messages:export"]["get"]
    content = operation["responses"]["200"]["content"]
    assert set(content) == {"text/event-stream", "application/x-ndjson"}
    events = content["application/x-ndjson"]["x-events"]
    assert set(events) == {"session", "message", "done", "error"}
    assert events["session"] == {"$ref": "#/components/schemas/Session"}
    assert {"$ref": "#/components/parameters/Chat-User-Id"} in operation["parameters"]
