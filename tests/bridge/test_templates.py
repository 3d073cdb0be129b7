"""Path templates and the routes made of them."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_bridge.router import Conflict, Router
from penstock_bridge.templates import InvalidPath, InvalidTemplate, Template, parse


def route(*templates: str) -> Router[str]:
    router: Router[str] = Router()
    for template in templates:
        router.add("GET", parse(template), template)
    return router


def bound(template: str, path: str) -> dict[str, str] | None:
    """The variables of a path, or None where it does not match."""
    found = route(template).find("GET", path)
    return None if found is None else {".".join(field): value for field, value in parse(template).bind(found[1])}


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/", "/", {}),
        ("/v1/a", "/v1/a", {}),
        ("/v1/{id}", "/v1/x", {"id": "x"}),
        ("/v1/{id=*}", "/v1/x", {"id": "x"}),
        ("/v1/{a}/b/{c}", "/v1/x/b/y", {"a": "x", "c": "y"}),
        ("/v1/{a.b_c}", "/v1/x", {"a.b_c": "x"}),
        ("/v1/{name=shelves/*}", "/v1/shelves/x", {"name": "shelves/x"}),
        ("/v1/{name=shelves/*/books/*}:read", "/v1/shelves/x/books/y:read", {"name": "shelves/x/books/y"}),
        ("/v1/{name=**}", "/v1/a/b/c", {"name": "a/b/c"}),
        ("/v1/{name=**}", "/v1", {"name": ""}),
        ("/v1/{name=a/**}:go", "/v1/a/b/c:go", {"name": "a/b/c"}),
        ("/v1/{id}/**", "/v1/x/y/z", {"id": "x"}),
        ("/v1/*/{id}", "/v1/x/y", {"id": "y"}),
        ("/v1/{id}:go", "/v1/x:go", {"id": "x"}),
        ("/v1/{id}:go", "/v1/x%3Ago:go", {"id": "x:go"}),
        ("/v1/{id}:go", "/v1/x:y:go", {"id": "x:y"}),
        ("/v1/{id}", "/v1/x:y", {"id": "x:y"}),
        ("/v1/{id}", "/v1/a%2Fb%25", {"id": "a/b%"}),
        ("/v1/{id=a/*}", "/v1/a/b%2Fc%2fd%20e", {"id": "a/b%2Fc%2fd e"}),
        ("/v1/{id=**}", "/v1/%E6%B5%81", {"id": "流"}),
        ("/v1/a%20b/{id}", "/v1/a%20b/x", {"id": "x"}),
    ],
)
def test_a_path_that_matches_gives_its_variables(template: str, path: str, values: dict[str, str]) -> None:
    assert bound(template, path) == values


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/v1/a", "/v1/b"),
        ("/v1/a", "/v1/a/"),
        ("/v1/a", "/v1/%61"),
        ("/v1/{id}", "/v1/"),
        ("/v1/{id}", "/v1/x/y"),
        ("/v1/{id}", "/v1"),
        ("/v1/{id}:go", "/v1/x"),
        ("/v1/{id}:go", "/v1/:go"),
        ("/v1/{id}:go", "/v1/x%3Ago"),
        ("/v1/{id}:go", "/v1/x:stop"),
        ("/v1/{id=**}", "/v1/a//b"),
        ("/v1/{id=a/*}", "/v1/b/c"),
        ("/v1/*/b", "/v1/*"),
    ],
)
def test_another_path_does_not_match(template: str, path: str) -> None:
    assert bound(template, path) is None


@pytest.mark.parametrize(
    "template",
    ["", "v1", "/v1/", "//", "/v1//a", "/{", "/{}", "/{a", "/a}", "/{a=}", "/{a={b}}", "/{a.}", "/{1}", "/{a}{b}",
     "/**/a", "/{a=**}/b", "/{a}/{a}", "/{a}/{a=b/*}", "/a b", "/a:", "/a:b c", "/a?b", "/a#b", "/x{a}", "/%zz"],
)  # fmt: skip
def test_a_template_against_the_grammar_is_refused(template: str) -> None:
    with pytest.raises(InvalidTemplate):
        parse(template)


@pytest.mark.parametrize("path", ["/v1/%", "/v1/%2", "/v1/%zz", "/v1/%ff", "/v1/%ed%a0%80", "/v1/\udcff"])
def test_a_value_that_is_no_text_is_refused(path: str) -> None:
    with pytest.raises(InvalidPath):
        bound("/v1/{id}", path)


def test_a_literal_wins_over_a_wildcard_and_a_segment_over_the_rest() -> None:
    router = route("/v1/{a=**}", "/v1/{a}/c", "/v1/b/c", "/v1/{a}")
    for path, template in (
        ("/v1/b/c", "/v1/b/c"),
        ("/v1/x/c", "/v1/{a}/c"),
        ("/v1/x", "/v1/{a}"),
        ("/v1/x/d", "/v1/{a=**}"),
        ("/v1/b/d", "/v1/{a=**}"),
    ):
        found = router.find("GET", path)
        assert found is not None
        assert found[0] == template


def test_a_verb_of_any_template_is_part_of_no_id() -> None:
    router = route("/v1/a/{id}", "/v1/b/{id}:go")
    assert router.find("GET", "/v1/a/x:go") is None
    assert router.find("GET", "/v1/a/x:stop") is not None


@pytest.mark.parametrize(
    ("one", "other"), [("/a/{b}", "/a/{c}"), ("/a/*", "/a/{c=*}"), ("/a", "/a"), ("/{b=a/*}", "/a/{c}")]
)
def test_two_routes_for_one_path_are_refused(one: str, other: str) -> None:
    with pytest.raises(Conflict):
        route(one, other)


def test_a_method_that_a_better_match_lacks_is_found_in_another() -> None:
    router = route("/v1/{a}")
    router.add("POST", parse("/v1/b"), "post")
    assert router.find("GET", "/v1/b") == ("/v1/{a}", ["v1", "b"])
    assert router.allowed("/v1/b") == ["GET", "POST"]


TEXT = st.text(min_size=1, max_size=20)
LITERAL = st.from_regex(r"[a-z0-9._~-]{1,6}", fullmatch=True)


@given(st.lists(st.tuples(LITERAL, TEXT), min_size=1, max_size=4), st.sampled_from(["", "go"]))
def test_any_text_survives_the_path(parts: list[tuple[str, str]], verb: str) -> None:
    suffix = f":{verb}" if verb else ""
    template = "/" + "/".join(f"{literal}/{{v{i}}}" for i, (literal, _) in enumerate(parts)) + suffix
    path = "/" + "/".join(f"{literal}/{quote(value, safe='')}" for literal, value in parts) + suffix
    assert bound(template, path) == {f"v{i}": value for i, (_, value) in enumerate(parts)}


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_any_segments_survive_a_path_of_many(values: list[str]) -> None:
    path = "/v1/" + "/".join(quote(value, safe="") for value in values)
    expected = "/".join(value.replace("/", "%2F") for value in values)
    assert bound("/v1/{name=**}", path) == {"name": expected}


@given(st.text(alphabet="/{}*=:.ab%2_ ", max_size=30))
def test_any_template_is_parsed_or_refused(text: str) -> None:
    try:
        template = parse(text)
    except InvalidTemplate:
        return
    assert isinstance(template, Template)
    assert template.shape


@given(st.text(alphabet="/:%2Fabgo*", max_size=30))
def test_any_path_is_matched_or_not(path: str) -> None:
    router = route("/a/{x}", "/a/{x}:go", "/b/{y=**}", "/", "/*/b/{z=a/*}:go")
    found = router.find("GET", "/" + path)
    if found is None:
        assert "GET" not in router.allowed("/" + path)


@pytest.mark.parametrize(
    ("template", "values", "path"),
    [
        ("/v1/runs/{run}", ["abc"], "/v1/runs/abc"),
        ("/v1/runs/{run}:watch", ["a:watch"], "/v1/runs/a%3Awatch:watch"),
        ("/v1/{a}/x/{b}", ["1/2", "流"], "/v1/1%2F2/x/%E6%B5%81"),
        ("/v1/{name=a/*}/{b}", ["a/x y", "?"], "/v1/a/x%20y/%3F"),
        ("/v1/{name=**}", ["a/b%2Fc"], "/v1/a/b%252Fc"),
    ],
)
def test_a_path_that_is_filled_binds_the_same_values(template: str, values: list[str], path: str) -> None:
    parsed = parse(template)
    assert parsed.fill(values) == path
    body = path.removesuffix(f":{parsed.verb}") if parsed.verb else path
    assert [value for _, value in parsed.bind(body[1:].split("/"))] == values


@pytest.mark.parametrize(
    ("template", "free"),
    [("/a", False), ("/", False), ("/{a}", False), ("/{a=x/**}", False), ("/*/{a}", True), ("/{a}/**", True)],
)
def test_a_wildcard_that_no_variable_takes_is_known(template: str, free: bool) -> None:
    assert parse(template).has_unbound_wildcards is free
