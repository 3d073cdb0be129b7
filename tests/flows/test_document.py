"""YAML documents with places."""

import pytest

from penstock_server.flows.document import read


@pytest.fixture
def plain(tmp_path):
    def read_text(text: str):
        (tmp_path / "x.yaml").write_text(text, "utf-8")
        return read(tmp_path / "x.yaml", "x.yaml", 10_000).plain()

    return read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("012", 12),
        ("0x10", 16),
        ("0o10", 8),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("é", "é"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value, plain):
    result = plain(text)
    assert result == value
    assert type(result) is type(value)


def test_merge_keys_and_aliases_are_written_out(plain):
    text = "base: &b {a: 1, b: 2}\nother: &o {b: 3, c: 4}\none: {<<: *b, a: 5}\ntwo: {<<: [*b, *o], d: *b}\n"
    result = plain(text)
    assert result["one"] == {"a": 5, "b": 2}
    assert result["two"] == {"a": 1, "b": 2, "c": 4, "d": {"a": 1, "b": 2}}


def test_every_value_has_its_place(tmp_path):
    (tmp_path / "x.yaml").write_text("\ufeffa:\n  - b: c\n", "utf-8")
    document = read(tmp_path / "x.yaml", "x.yaml", 100)
    item = document.entries()["a"].value[0].entries()["b"]  # type: ignore[index]
    assert (item.value, item.line, item.column) == ("c", 2, 8)
