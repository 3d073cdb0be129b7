from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from penstock.connections import (
    AzureOpenAIConnection,
    CustomConnection,
    DashScopeConnection,
    InvalidConnection,
    MilvusConnection,
    MySqlConnection,
    OpenAIConnection,
    PostgresConnection,
)
from penstock_server.flows.connections.connections import Connections, load
from penstock_server.flows.problems import FlowLoadError, ProblemFound

KEY = "sk-not-to-be-shown"


def declared(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Connections:
    (folder / "connections.yaml").write_text(dedent(text))
    return load(folder, environ=environ or {})


ALL = f"""
open: {{type: open_ai, api_key: {KEY}, base_url: "http://localhost:1/v1"}}
azure: {{type: azure_open_ai, api_key: {KEY}, api_base: "https://shop.openai.azure.com", api_type: azure}}
ali: {{type: dashscope, api_key: {KEY}}}
docs: {{type: milvus, uri: "http://localhost:19530", token: "{KEY}"}}
shop: {{type: mysql, host: db, user: root, password: "{KEY}/@", database: shop}}
log: {{type: postgresql, url: "postgres://me:{KEY}@[::1]:6432/log"}}
mail: {{type: custom, configs: {{host: mail.example.com, port: 25}}, secrets: {{password: {KEY}}}}}
"""


def test_each_type_is_read_from_the_file(tmp_path: Path) -> None:
    connections = declared(tmp_path, ALL)
    assert connections.names == ["open", "azure", "ali", "docs", "shop", "log", "mail"]
    kinds = [type(connections.get(name)) for name in connections.names]
    assert kinds == [
        OpenAIConnection,
        AzureOpenAIConnection,
        DashScopeConnection,
        MilvusConnection,
        MySqlConnection,
        PostgresConnection,
        CustomConnection,
    ]
    assert connections.get("open").api_key == KEY
    assert connections.get("azure").api_version == "2024-10-21"
    assert connections.get("ali").base_url.startswith("https://dashscope.aliyuncs.com/")
    assert connections.get("mail").port == 25
    assert connections.get("open") is connections.get("open")


def test_the_types_of_prompt_flow_that_tools_alone_use_are_known(tmp_path: Path) -> None:
    text = """
    find: {type: serp, api_key: k}
    index: {type: cognitive_search, api_key: k, api_base: "https://x.search.windows.net"}
    safe: {type: azure_content_safety, api_key: k, endpoint: "https://x"}
    """
    connections = declared(tmp_path, text)
    assert connections.get("find").api_key == "k"
    assert (connections.get("index").api_base, connections.get("index").api_version) == (
        "https://x.search.windows.net",
        "2023-11-01",
    )
    assert connections.get("safe").endpoint == "https://x"


def test_what_looks_like_a_number_is_text(tmp_path: Path) -> None:
    text = """
    a: {type: mysql, host: 127, port: 3307, user: 5, password: "0123", database: 7}
    b: {type: open_ai, api_key: "123456", organization: 9}
    c: {type: custom, configs: {port: 25, on: true}, secrets: {pin: "0123", none: }}
    """
    connections = declared(tmp_path, text)
    assert connections.get("a").url == "mysql://5:0123@127:3307/7"
    assert (connections.get("b").api_key, connections.get("b").organization) == ("123456", "9")
    custom = connections.get("c")
    assert (custom.port, custom.on, custom.pin, custom.none) == (25, True, "0123", "")


def test_a_database_tells_one_url_with_its_parts_escaped(tmp_path: Path) -> None:
    connections = declared(tmp_path, ALL)
    assert connections.get("shop").url == f"mysql://root:{KEY}%2F%40@db:3306/shop"
    assert connections.get("log").url == f"postgresql://me:{KEY}@[::1]:6432/log"


@pytest.mark.parametrize("kind", [MySqlConnection, PostgresConnection])
def test_how_a_database_is_encrypted_is_part_of_its_address(kind: type[MySqlConnection | PostgresConnection]) -> None:
    made = kind(host="db", database="shop", sslmode="verify-full", sslrootcert="/etc/ca 1.pem")
    assert made.url == f"{kind.TYPE}://db:{kind.PORT}/shop?sslmode=verify-full&sslrootcert=%2Fetc%2Fca+1.pem"
    assert kind(url=made.url).configs == made.configs
    with pytest.raises(InvalidConnection, match="`sslmode` must be one of disable, require, verify-ca, verify-full"):
        kind(database="shop", sslmode="on")
    with pytest.raises(InvalidConnection, match=r"no \?parameters but sslmode and sslrootcert"):
        kind(url=f"{kind.TYPE}://db/shop?charset=latin1")


def test_a_connection_document_of_prompt_flow_is_read_as_it_is(tmp_path: Path) -> None:
    text = """
    $schema: https://azuremlschemas.azureedge.net/promptflow/latest/AzureOpenAIConnection.schema.json
    name: azure_connection
    type: AzureOpenAI
    api_key: "x"
    api_base: "https://shop.openai.azure.com/"
    api_type: azure
    api_version: 2023-07-01-preview
    """
    azure = declared(tmp_path, text).get("azure_connection")
    assert (azure.name, azure.api_version, azure.base_url) == (
        "azure_connection",
        "2023-07-01-preview",
        "https://shop.openai.azure.com/",
    )


def test_the_environment_declares_connections_and_replaces_values(tmp_path: Path) -> None:
    environ = {
        "MY_MODEL_TYPE": "open_ai",
        "MY_MODEL_API_KEY": "from-env",
        "MY_MODEL_BASE_URL": "http://localhost:2/v1",
        "OPEN_API_KEY": "replaced",
        "MAIL_PASSWORD": "other",
        "BARE_TYPE": "custom",
        "BARE_TOKEN": "t",
    }
    connections = declared(tmp_path, ALL, environ)
    assert connections.get("my_model") == OpenAIConnection(
        "from-env", base_url="http://localhost:2/v1", name="my_model"
    )
    assert connections.get("open").api_key == "replaced"
    assert (connections.get("mail").password, connections.get("mail").host) == ("other", "mail.example.com")
    assert connections.get("bare").secrets["token"] == "t"


def test_a_variable_in_the_file_is_replaced_and_a_missing_one_named(tmp_path: Path) -> None:
    text = """
    a: {type: open_ai, api_key: "${env:KEY}", base_url: "${env:URL:-http://localhost:3}"}
    b: {type: custom, secrets: {inner: "${env:NOT_THERE}"}}
    """
    connections = declared(tmp_path, text, {"KEY": "k"})
    assert (connections.get("a").api_key, connections.get("a").base_url) == ("k", "http://localhost:3")
    with pytest.raises(ProblemFound, match=r"`secrets.inner` is the environment variable NOT_THERE, which is not set"):
        connections.get("b")


def test_the_explicit_file_goes_before_the_folders_and_that_before_the_data_folders(tmp_path: Path) -> None:
    for name in ("flow", "data"):
        (tmp_path / name).mkdir()
    text = "{name}: {{type: open_ai, api_key: {key}}}\n"
    all_three = ("one", "two", "three")
    (tmp_path / "data/connections.yaml").write_text("".join(text.format(name=n, key="data") for n in all_three))
    (tmp_path / "flow/connections.yaml").write_text("".join(text.format(name=n, key="flow") for n in all_three[:2]))
    (tmp_path / "own.yaml").write_text(text.format(name="one", key="own"))
    connections = load(tmp_path / "flow", explicit=str(tmp_path / "own.yaml"), data=tmp_path / "data", environ={})
    assert [connections.get(name).api_key for name in all_three] == ["own", "flow", "data"]


def test_an_unknown_name_is_told_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ProblemFound) as error:
        declared(tmp_path, ALL).get("opne")
    assert (error.value.text, error.value.hint) == ("there is no connection `opne`", "did you mean `open`?")
    with pytest.raises(ProblemFound) as error:
        declared(tmp_path, ALL).get("zzzzzz")
    assert error.value.hint == "known are: open, azure, ali, docs, shop, log, mail"
    with pytest.raises(ProblemFound) as error:
        Connections(environ={}).get("my-model")
    assert error.value.hint == "declare it in connections.yaml, or set MY_MODEL_TYPE"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {api_key: x}", r":1:4: connection `a` has no `type` \(the types are open_ai, azure_open_ai"),
        ("a: {type: open_a}", r":1:11: connection `a`: there is no type `open_a` \(did you mean `open_ai`\?\)"),
        ("a: {type: open_ai, api_kye: x}", r"connection `a` has no `api_kye` \(did you mean `api_key`\?\)"),
        ("a: {type: open_ai, api_key: [x]}", "connection `a`: `api_key` must be a text or a number"),
        ("a: {type: custom, secrets: x}", "connection `a`: `secrets` must be a mapping"),
        ("a: {type: custom, configs: {b: {c: 1}}}", "connection `a`: `b` must be a text or a number"),
        ("a: {type: open_ai, api_key: 0123}", r"connection `a`: `api_key` must be text \(put it in quotes\)"),
        ("a: {type: custom, secrets: {pin: 0123}}", r"connection `a`: `pin` must be text \(put it in quotes\)"),
        ("- a", "the document must be a mapping of names to connections"),
        ("a: open_ai", "connection `a` must be a mapping, with its `type`"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(FlowLoadError, match=problem):
        declared(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {type: open_ai}", "it needs an `api_key`, or the `base_url` of a server that wants none"),
        ("a: {type: azure_open_ai, api_key: x, api_base: 'https://x', auth_mode: meid_token}", "must be `key`"),
        ("a: {type: azure_open_ai, api_key: x}", "it needs `api_base`"),
        ("a: {type: open_ai, api_key: x, base_url: localhost}", "must be an address like https://host/path"),
        (f"a: {{type: open_ai, base_url: 'http://u:{KEY}@host/'}}", "must hold no user or password"),
        (f"a: {{type: mysql, url: 'mysql://u:{KEY}#@host/x'}}", "`url` must be like mysql://user:password@host"),
        (f"a: {{type: mysql, url: 'sqlite://u:{KEY}@host/x'}}", "`url` must begin with mysql://"),
        (f"a: {{type: mysql, url: 'mysql://u:{KEY}@host'}}", "it needs `database`"),
        (f"a: {{type: mysql, url: 'mysql://u:{KEY}@host/x', host: b}}", "`url` and `host` both say where it is"),
        ("a: {type: mysql, database: x, port: 99999}", "`port` must be a number from 1 to 65535"),
        (f"a: {{type: milvus, uri: 'http://u:{KEY}@host'}}", "give them as `token`"),
        ("a: {type: custom, configs: {b: 1}, secrets: {b: x}}", "`b` is among the configs and among the secrets"),
    ],
)
def test_values_that_make_no_connection_are_told_when_it_is_asked_for(tmp_path: Path, text: str, problem: str) -> None:
    connections = declared(tmp_path, text)
    with pytest.raises(ProblemFound) as error:
        connections.get("a")
    assert problem in str(error.value)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("text", [f"a: !{KEY}", f"a: *{KEY}", f"a: !!int {KEY}", f"a: {{api_key: @{KEY}", f"%{KEY}"])
def test_a_file_that_is_no_yaml_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(FlowLoadError) as error:
        declared(tmp_path, text)
    assert "cannot be read as YAML" in str(error.value)
    assert KEY not in str(error.value)


def test_an_explicit_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FlowLoadError, match="cannot be read: No such file"):
        load(explicit=str(tmp_path / "none.yaml"))
