"""`${env:…}` and `${file:…}` in documents."""

import pytest

from penstock_server.flows.placeholders import FILE_BYTES_MAX, filled
from penstock_server.flows.problems import ProblemFound


def test_placeholders_are_replaced_at_any_depth_and_nothing_else_is(tmp_path):
    (tmp_path / "a.json").write_text('{"x": [1]}')
    (tmp_path / "a.yaml").write_text("x: [1]\n")
    (tmp_path / "a.txt").write_text("text\n")
    environ = {"A": "a", "EMPTY": ""}
    value = {
        "env": ["${env:A}", "${env:NONE:-d:-e}", "${env:EMPTY:-d}", "${env:EMPTY}", "${env:NONE:-}"],
        "file": ["${file:a.json}", "${file:./a.yaml}", "${file:a.txt}"],
        "plain": ["x ${env:A}", "${other:A}", 5, None, "${inputs.a}"],
    }
    assert filled(value, tmp_path, environ) == {
        "env": ["a", "d:-e", "d", "", ""],
        "file": [{"x": [1]}, {"x": [1]}, "text\n"],
        "plain": ["x ${env:A}", "${other:A}", 5, None, "${inputs.a}"],
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${env:NONE}", "the environment variable NONE is not set"),
        ("${file:gone.json}", "`gone.json` cannot be read: No such file"),
        ("${file:../secret.txt}", "`../secret.txt` lies outside the flow's folder"),
        ("${file:/etc/hostname}", "lies outside the flow's folder"),
        ("${file:link.txt}", "`link.txt` lies outside the flow's folder"),
        ("${file:folder}", "cannot be read: Is a directory"),
        ("${file:bad.json}", "`bad.json` is not JSON"),
        ("${file:deep.json}", "`deep.json` is not JSON"),
        ("${file:bad.yaml}", "`bad.yaml`: not YAML"),
        ("${file:bomb.yaml}", "`bomb.yaml`: not YAML: the document holds more than"),
        ("${file:bytes.txt}", "`bytes.txt` is not TXT"),
        ("${file:large.txt}", f"`large.txt` is larger than {FILE_BYTES_MAX} bytes"),
    ],
)
def test_what_cannot_be_replaced_says_why(text, problem, tmp_path):
    folder = tmp_path / "flow"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "bad.json").write_text("{")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "bad.yaml").write_text("a: [")
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    (folder / "bomb.yaml").write_text(f"a0: &a0 [x]\n{levels}")
    (folder / "bytes.txt").write_bytes(b"\xff")
    (folder / "large.txt").write_text("x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ProblemFound) as caught:
        filled(text, folder, {})
    assert problem in caught.value.text
    assert "secret" not in caught.value.text.replace("secret.txt", "")
