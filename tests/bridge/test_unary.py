"""Unary calls: paths, bodies, answers."""

import orjson


async def test_the_root_takes_inputs_and_answers_outputs(bridge, server, web, speak):
    async with web.post(bridge, "/", json={"question": "why?", "top_k": 3}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Chat-Session-Id"] == speak.SESSION
        assert answer.headers["Penstock-Run-Id"] == speak.RUN
        assert await answer.read() == b'{"question":"why?","top_k":3}'
    assert server.seen[0].request.flow == ""


async def test_run_answers_the_whole_run(bridge, web, speak):
    async with web.post(bridge, "/run", json={"question": "why?"}) as answer:
        run = await answer.json()
    assert run["run"] == speak.RUN
    assert run["status"] == "SUCCEEDED"
    assert run["outputs"] == {"question": "why?"}
    assert run["nodes"] == []
    assert "error" not in run


async def test_a_named_flow_takes_the_request_as_its_body(bridge, server, web):
    body = {"inputs": {"a": 1}, "options": {"onDisconnect": "CONTINUE"}}
    async with web.post(bridge, "/v1/flows/docs-qa:invoke", json=body) as answer:
        assert (await answer.json())["flow"] == "docs-qa"
    request = server.seen[0].request
    assert request.flow == "docs-qa"
    assert request.options.on_disconnect == 2


async def test_options_bind_from_the_query_in_both_spellings(bridge, server, web):
    for query in ("options.onDisconnect=CONTINUE", "options.on_disconnect=CONTINUE", "options.on_disconnect=2"):
        async with web.post(bridge, f"/?{query}", json={}) as answer:
            assert answer.status == 200
    assert [seen.request.options.on_disconnect for seen in server.seen] == [2, 2, 2]


async def test_an_unknown_query_parameter_is_named(bridge, web, reason_of):
    for path in ("/?colour=red", "/?options.colour=red", "/?options=red", "/?inputs=red", "/v1/flows?colour=red"):
        method = "GET" if path.startswith("/v1") else "POST"
        async with web.request(bridge, method, path) as answer:
            body = await answer.json()
        assert reason_of(body) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
        name = path.partition("?")[2].partition("=")[0]
        assert name in body["error"]["message"]
        assert body["error"]["details"][1]["fieldViolations"][0]["field"] == name


async def test_an_empty_body_is_an_empty_object(bridge, server, web):
    async with web.post(bridge, "/") as answer:
        assert await answer.read() == b"{}"
    async with web.post(bridge, "/v1/flows/x:invoke") as answer:
        assert answer.status == 200


async def test_a_flow_id_is_percent_decoded(bridge, server, web):
    for path, flow in (("a%2Fb", "a/b"), ("%E6%B5%81", "流"), ("a:b", "a:b"), ("a%3Ainvoke", "a:invoke")):
        async with web.get(bridge, f"/v1/flows/{path}") as answer:
            assert answer.status == 200
            assert (await answer.json())["flow"] == flow


async def test_a_verb_is_never_part_of_an_id(bridge, web, reason_of):
    async with web.get(bridge, "/v1/flows/a:invoke") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST"
    async with web.post(bridge, "/v1/flows/a%3Ainvoke:invoke", json={}) as answer:
        assert (await answer.json())["flow"] == "a:invoke"


async def test_a_bad_escape_in_the_path_is_refused(bridge, web, reason_of, dial):
    for path in (b"/v1/flows/%zz", b"/v1/flows/%ff", b"/v1/flows/\xff"):
        raw = await dial(bridge)
        raw.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = (await raw.rest()).partition(b"\r\n\r\n")
        assert b" 400 " in head
        assert reason_of(orjson.loads(body))[2] == "INVALID_REQUEST"


async def test_a_body_that_contradicts_the_path_is_refused(bridge, web, reason_of):
    async with web.post(bridge, "/v1/flows/a:invoke", json={"flow": "b"}) as answer:
        body = await answer.json()
    assert reason_of(body) == (400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    violation = body["error"]["details"][1]["fieldViolations"][0]
    assert (violation["field"], violation["description"]) == ("flow", "the body contradicts the path")
    async with web.post(bridge, "/v1/flows/a:invoke", json={"flow": "a"}) as answer:
        assert answer.status == 200


async def test_head_answers_get_routes_without_a_body(bridge, web):
    async with web.get(bridge, "/v1/flows/a") as answer:
        length = len(await answer.read())
    async with web.request(bridge, "HEAD", "/v1/flows/a") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(length)
        assert await answer.read() == b""


async def test_a_get_takes_no_body(bridge, web, reason_of):
    async with web.get(bridge, "/v1/flows", json={}) as answer:
        assert reason_of(await answer.json())[2] == "INVALID_REQUEST"


async def test_one_connection_takes_many_calls(bridge, dial):
    raw = await dial(bridge)
    call = "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Length: 7\r\n\r\n"
    for number in range(3):
        raw.send(call + f'{{"a":{number}}}')
        head = await raw.head()
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert await raw.reader.readexactly(7) == b'{"a":%d}' % number


async def test_pipelined_calls_are_answered_in_order(bridge, dial):
    raw = await dial(bridge)
    call = "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Length: 7\r\n\r\n"
    raw.send("".join(call + f'{{"a":{number}}}' for number in range(3)))
    for number in range(3):
        await raw.head()
        assert await raw.reader.readexactly(7) == b'{"a":%d}' % number


async def test_a_client_of_http_1_0_gets_an_answer_and_the_end(bridge, dial):
    raw = await dial(bridge)
    raw.send("POST / HTTP/1.0\r\nAuthorization: Bearer t\r\nContent-Length: 2\r\n\r\n{}")
    answer = await raw.rest()
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\n{}")


async def test_a_proxys_absolute_target_is_understood(bridge, dial):
    raw = await dial(bridge)
    raw.send("GET http://somewhere/v1/flows/a HTTP/1.1\r\nHost: somewhere\r\nConnection: close\r\n\r\n")
    assert (await raw.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_server_behind_a_unix_socket_is_reached(start_bridge, server, web, tmp_path):
    import grpc

    from penstock.v1 import flow_pb2_grpc

    running = grpc.aio.server()
    flow_pb2_grpc.add_FlowServiceServicer_to_server(server, running)
    running.add_insecure_port(f"unix:{tmp_path}/s")
    await running.start()
    bridge = await start_bridge(f"unix:{tmp_path}/s")
    async with web.post(bridge, "/", json={"a": 1}) as answer:
        assert await answer.json() == {"a": 1}
    await running.stop(0)
