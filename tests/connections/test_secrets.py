import copy
import json
import logging
import pickle
from collections.abc import Callable

import pytest

from penstock.connections import AzureOpenAIConnection, Connection, CustomConnection, MySqlConnection, OpenAIConnection
from penstock.secret import MASK, Secret
from penstock.values import InvalidValue
from penstock_server.flows.results import describe, jsonable

KEY = "sk-not-to-be-shown"

SHOWN: list[Callable[[object], object]] = [str, repr, "{}".format, "{!r:>40}".format, "%s".__mod__]

HOLDERS: list[object] = [
    Secret(KEY),
    OpenAIConnection(api_key=KEY, name="open"),
    AzureOpenAIConnection(api_key=KEY, api_base="https://shop.openai.azure.com"),
    CustomConnection({"token": KEY}, {"address": "https://example.com"}),
    CustomConnection({"token": KEY}).secrets,
    MySqlConnection(url=f"mysql://root:{KEY}@db/shop"),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("show", SHOWN)
def test_a_secret_is_masked_in_every_format(holder: object, show: Callable[[object], object]) -> None:
    assert KEY not in str(show(holder))
    assert MASK in str(show(holder))


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda value: type(value).__name__)
def test_a_secret_is_neither_json_nor_pickled(holder: object) -> None:
    with pytest.raises(TypeError):
        json.dumps(holder)
    with pytest.raises(TypeError) as error:
        pickle.dumps(holder)
    assert KEY not in str(error.value)
    with pytest.raises(InvalidValue) as refused:
        jsonable(holder)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda value: type(value).__name__)
def test_the_record_of_a_node_masks_a_secret(holder: object) -> None:
    assert KEY not in json.dumps(describe({"connection": holder, "all": [holder]}))


def test_a_secret_enters_no_log_and_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    connection = OpenAIConnection(api_key=KEY)
    logging.getLogger("test").error("using %s and %r", connection, connection.secrets, extra={"c": connection})
    with pytest.raises(AttributeError) as error:
        _ = connection.api_kye
    assert KEY not in caplog.text + str(error.value) + repr(vars(connection))


def test_copies_share_the_secret() -> None:
    connection = OpenAIConnection(api_key=KEY)
    assert copy.deepcopy({"c": connection})["c"] is connection
    assert copy.copy(Secret(KEY)) == Secret(KEY)
    assert Secret(KEY) != Secret("another")


def test_a_tool_reads_values_as_attributes_and_by_name() -> None:
    custom = CustomConnection({"token": KEY}, {"address": "https://example.com"}, name="search")
    assert (custom.token, custom.address, custom["token"], custom.secrets["token"]) == (
        KEY,
        "https://example.com",
        KEY,
        KEY,
    )
    assert {**custom} == {"address": "https://example.com", "token": KEY}
    assert [custom.is_secret(key) for key in ("token", "address")] == [True, False]
    assert OpenAIConnection(KEY).organization is None
    assert OpenAIConnection(base_url="http://localhost/v1").api_key is None


def test_a_connection_does_not_change() -> None:
    connection: Connection = CustomConnection({"token": KEY})
    with pytest.raises(AttributeError):
        connection.token = "x"  # type: ignore[attr-defined]


def test_connections_are_equal_by_value() -> None:
    assert OpenAIConnection(KEY, name="a") == OpenAIConnection(api_key=KEY, name="a")
    assert hash(OpenAIConnection(KEY)) == hash(OpenAIConnection(KEY))
    assert OpenAIConnection(KEY) != OpenAIConnection("another")
