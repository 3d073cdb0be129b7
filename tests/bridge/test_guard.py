"""Who may call without a token."""

import pytest

PASSING = {"content-type": "application/json"}


async def test_a_call_without_a_token_is_refused_before_its_body(start_bridge, server, dial):
    bridge = await start_bridge(linger_s=0.1)
    for line in ("", "Authorization: Basic dXNlcjpwYXNz\r\n", "Authorization: Bearer\r\n", "Authorization: \r\n"):
        raw = await dial(bridge)
        raw.send(f"POST / HTTP/1.1\r\nHost: x\r\n{line}Content-Length: 1000000\r\n\r\n")
        head = await raw.head()
        assert head.startswith("HTTP/1.1 401 Unauthorized\r\n")
        assert "WWW-Authenticate: Bearer\r\n" in head
    assert server.seen == []


async def test_the_scheme_is_compared_without_case(bridge, web):
    async with web.post(bridge, "/", headers={"Authorization": "bearer x"}) as answer:
        assert answer.status == 200


async def test_the_description_of_flows_needs_no_token(bridge, web):
    for path in ("/v1/flows", "/v1/flows/a", "/openapi.json", "/docs", "/healthz", "/readyz"):
        async with web.get(bridge, path, token=None) as answer:
            assert answer.status == 200, path


async def test_no_token_is_needed_where_none_is_required(start_bridge, server, web):
    bridge = await start_bridge(auth=False)
    async with web.post(bridge, "/", token=None, json={}) as answer:
        assert answer.status == 200
    assert "authorization" not in server.seen[0].metadata


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
async def test_a_page_of_another_origin_cannot_use_an_open_service(start_bridge, server, web, reason_of, origin):
    bridge = await start_bridge(auth=False)
    async with web.post(bridge, "/", token=None, headers={"Origin": origin}) as answer:
        assert reason_of(await answer.json()) == (403, "PERMISSION_DENIED", "NOT_ALLOWED")
    assert server.seen == []


async def test_a_page_of_our_own_or_of_an_allowed_origin_can(start_bridge, web):
    bridge = await start_bridge(auth=False, cors_origins=("https://app.example",))
    own = "http://{}:{}".format(*bridge.address)
    for origin in (own, "https://app.example"):
        async with web.post(bridge, "/", token=None, headers={"Origin": origin}, json={}) as answer:
            assert answer.status == 200


async def test_an_open_service_answers_to_no_strange_name(start_bridge, server, web):
    bridge = await start_bridge(auth=False, hosts=("penstock.internal",))
    for host, status in (
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:80", 200),
        ("LOCALHOST", 200),
        ("[::1]:80", 200),
        ("10.0.0.1", 200),
        ("penstock.internal:8080", 200),
    ):
        async with web.post(bridge, "/", token=None, headers={"Host": host}, json={}) as answer:
            assert answer.status == status, host


async def test_a_token_frees_from_both(start_bridge, web):
    bridge = await start_bridge(auth=False)
    headers = {"Host": "service.example", "Origin": "https://evil.example"}
    async with web.post(bridge, "/", headers=headers, json={}) as answer:
        assert answer.status == 200
