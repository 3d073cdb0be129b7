import pytest

from penstock_server.flows.models.settings import CHAT, TEXT, read


def test_settings_are_read_from_the_forms_that_yaml_gives_them() -> None:
    given = {
        "temperature": "0.5",
        "max_tokens": "100",
        "n": 1.0,
        "stop": '["a", "b"]',
        "tools": '[{"type": "function"}]',
        "tool_choice": "auto",
        "function_call": '{"name": "f"}',
        "response_format": {"type": "json_object"},
        "parallel_tool_calls": "False",
        "logprobs": True,
        "user": "me",
    }
    assert read(given, CHAT) == {
        "temperature": 0.5,
        "max_tokens": 100,
        "n": 1,
        "stop": ["a", "b"],
        "tools": [{"type": "function"}],
        "tool_choice": "auto",
        "function_call": {"name": "f"},
        "response_format": {"type": "json_object"},
        "parallel_tool_calls": False,
        "logprobs": True,
        "user": "me",
    }
    assert read({"logprobs": "3", "best_of": 2, "echo": "true", "stop": "END"}, TEXT) == {
        "logprobs": 3,
        "best_of": 2,
        "echo": True,
        "stop": "END",
    }


def test_what_is_empty_or_endless_is_not_given() -> None:
    given = {"stop": "", "max_tokens": "inf", "logit_bias": {}, "temperature": None, "user": ""}
    assert read(given, CHAT) == {}


def test_zero_is_given() -> None:
    assert read({"temperature": 0, "presence_penalty": "0"}, CHAT) == {"temperature": 0.0, "presence_penalty": 0.0}


def test_an_extra_body_is_for_what_only_some_servers_know() -> None:
    assert read({"extra_body": {"top_k": 3}, "n": 1}, CHAT) == {"n": 1, "top_k": 3}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("temperature", "warm", "`temperature` must be a number"),
        ("temperature", True, "`temperature` must be a number"),
        ("temperature", float("nan"), "`temperature` must be a number"),
        ("max_tokens", 1.5, "`max_tokens` must be a whole number"),
        ("tools", "[{", "`tools` must be JSON"),
        ("tools", {"a": 1}, "`tools` must be a list"),
        ("response_format", "json", "`response_format` must be JSON"),
        ("parallel_tool_calls", "yes", "`parallel_tool_calls` must be true or false"),
        ("extra_body", {"stream": True}, "`extra_body` cannot hold `stream`"),
        ("user", 3, "`user` must be text"),
    ],
)
def test_a_setting_of_another_form_is_named(name: str, value: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read({name: value}, CHAT)
