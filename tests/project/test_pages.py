"""The pages that show commands: each command runs, and prints what the page says that it prints.

How a page is read, from top to bottom, as a person would follow it in a fresh clone:

- A `python`, `yaml` or `jinja` block is a file; its first line, a comment, is its path.
- A `bash` block is run. One that ends with `make serve` or `penstock serve …` starts a service, which takes the place
  of the one before it and of the default addresses in everything below. `python -m tests.modelserver` starts a model
  server in the same way.
- A `text` or `json` block is what the block above it prints; `…` stands for anything. In JSON, `"…"` as the last
  element of a list, or as a key, stands for more of them.
- `<!-- no-run: reason -->` above a block leaves it out.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "README.zh-CN.md",
    *(f"docs/{name}.md" for name in ("flows", "models", "knowledge", "http", "runs", "history", "grpc", "deploying")),
]
GRPCURL = REPOSITORY / ".tools/bin/grpcurl"
STAND_IN = REPOSITORY / "tests/project/grpcurl_by_buf"

HTTP_DEFAULT = "127.0.0.1:8080"
GRPC_DEFAULT = "127.0.0.1:50051"
MODEL_DEFAULT = "127.0.0.1:8090"
READY_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 120
PRINTED_CHARACTERS_MAX = 2000
ANYTHING = "…"
FILES = {"python", "yaml", "jinja"}

# The service takes free ports instead of the default ones, and `make serve` installs nothing.
PRELUDE = """\
penstock() {
  case $1 in
    serve) exec "$PENSTOCK" "$@" --http 127.0.0.1:0 --grpc 127.0.0.1:0 --ready-file "$READY" ;;
    invoke) "$PENSTOCK" "$@" --target "$GRPC" ;;
    *) "$PENSTOCK" "$@" ;;
  esac
}
python() {
  case "$*" in
    "-m tests.modelserver") exec "$PYTHON" "$@" --port 0 ;;
    *) command python "$@" ;;
  esac
}
make() { [ "$*" = serve ] && penstock serve examples/docs-qa; }
"""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    place: str
    language: str
    text: str
    left_out: bool

    @property
    def starts_a_service(self) -> bool:
        return re.search(r"\b(?:make serve|penstock serve [^\n]*)\Z", self.text.rstrip()) is not None

    @property
    def starts_a_model(self) -> bool:
        return self.text.strip() == "python -m tests.modelserver"


class Reader:
    """Follows a page in a folder that looks like a clone, with a service of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cleanup = ExitStack()
        self._models = ExitStack()
        self._addresses = {"http": HTTP_DEFAULT, "grpc": GRPC_DEFAULT, "model": MODEL_DEFAULT}
        self._output = ""
        for entry in REPOSITORY.iterdir():
            if entry.name not in {".git", ".penstock", ".venv"}:
                (folder / entry.name).symlink_to(entry)
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / ".follow").mkdir()
        (folder / ".follow/grpcurl").symlink_to(GRPCURL if GRPCURL.exists() else STAND_IN)
        (folder / ".follow/state").write_text(f"cd {folder}\n")

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()
        self._models.close()

    def follow(self, block: Block) -> None:
        if block.left_out:
            return
        if block.language in FILES:
            self._save(block)
        elif block.language == "bash" and block.starts_a_service:
            self._serve(block)
        elif block.language == "bash" and block.starts_a_model:
            self._start_model(block)
        elif block.language == "bash":
            self._run(block)
        elif not agrees(block.language, self._here(block.text), self._output):
            printed = self._output[:PRINTED_CHARACTERS_MAX]
            pytest.fail(f"{block.place}: the page shows\n{block.text}\nbut this was printed:\n{printed}", pytrace=False)

    def _save(self, block: Block) -> None:
        path = re.match(r"(?:# |\{#- )([\w./-]+\.\w+)", block.text)
        assert path, f"{block.place}: the first line does not say which file this is"
        file = self._folder / path[1]
        file.parent.mkdir(exist_ok=True)
        file.write_text(self._here(block.text), encoding="utf-8")

    def _run(self, block: Block) -> None:
        script = f"{block.text}\n{{ export -p; echo cd \"'$PWD'\"; }} >{self._folder}/.follow/state\n"
        result = subprocess.run(
            self._command(script),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        assert result.returncode == 0, f"{block.place}: exit code {result.returncode}\n{result.stderr}{result.stdout}"
        self._output = result.stdout

    def _serve(self, block: Block) -> None:
        self._cleanup.close()
        ready = self._folder / ".follow/ready.json"
        ready.unlink(missing_ok=True)
        log = self._folder / ".follow/service.log"
        with log.open("w") as output:
            service = subprocess.Popen(
                self._command(block.text),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._cleanup.callback(stop, service)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not ready.exists():
            assert service.poll() is None, f"{block.place}: the service ended\n{log.read_text()}"
            assert time.monotonic() < deadline, f"{block.place}: the service is not ready\n{log.read_text()}"
            time.sleep(0.05)
        told = json.loads(ready.read_text())
        self._addresses |= {"http": told["http"].removeprefix("http://"), "grpc": told["grpc"]}
        self._output = log.read_text()

    def _start_model(self, block: Block) -> None:
        command = self._command(block.text)
        model = subprocess.Popen(command, env=self._environment(), stdout=subprocess.PIPE, text=True)
        self._models.callback(stop, model)
        assert model.stdout is not None
        with model.stdout as printed:
            self._output = printed.readline()
        self._addresses["model"] = self._output.strip().removeprefix("http://").removesuffix("/v1")

    def _command(self, script: str) -> list[str]:
        """Goes on where the block before left off: in its folder, with what it exported."""
        own = self._folder / ".follow"
        names = {
            "PENSTOCK": Path(sys.executable).with_name("penstock"),
            "PYTHON": sys.executable,
            "READY": own / "ready.json",
            "GRPC": self._addresses["grpc"],
        }
        exports = "".join(f"export {name}={value}\n" for name, value in names.items())
        (own / "script").write_text(f"{PRELUDE}. {own}/state\n{exports}{self._here(script)}", encoding="utf-8")
        return ["bash", "-euo", "pipefail", f"{own}/script"]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OPENAI_"))}
        return kept | {"PATH": f"{self._folder}/.follow:{kept['PATH']}"}

    def _here(self, text: str) -> str:
        for name, address in {"http": HTTP_DEFAULT, "grpc": GRPC_DEFAULT, "model": MODEL_DEFAULT}.items():
            text = text.replace(address, self._addresses[name])
        return text


def stop(service: subprocess.Popen[Any]) -> None:
    service.send_signal(signal.SIGINT)
    try:
        service.wait(timeout=30)
    except subprocess.TimeoutExpired:
        service.kill()
        raise


def blocks(page: str) -> Iterator[Block]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    fenced = r"(?P<out><!-- no-run: [^>]+ -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    for match in re.finditer(fenced, text, re.MULTILINE | re.DOTALL):
        yield Block(
            place=f"{page}:{text.count(chr(10), 0, match.start('text'))}",
            language=match["language"],
            text=match["text"],
            left_out=match["out"] is not None,
        )


def agrees(language: str, shown: str, printed: str) -> bool:
    """Whether what a page shows is what was printed."""
    if language == "json":
        return _same(json.loads(shown), json.loads(printed))
    return _matches(shown.strip(), printed.strip())


def _same(shown: object, printed: object) -> bool:
    if isinstance(shown, dict) and isinstance(printed, dict):
        keys = shown.keys() - {ANYTHING}
        complete = ANYTHING in shown or keys == printed.keys()
        return complete and keys <= printed.keys() and all(_same(shown[key], printed[key]) for key in keys)
    if isinstance(shown, list) and isinstance(printed, list):
        more = shown[-1:] == [ANYTHING]
        items = shown[:-1] if more else shown
        enough = len(items) <= len(printed) if more else len(items) == len(printed)
        return enough and all(map(_same, items, printed))
    if isinstance(shown, str) and isinstance(printed, str):
        return _matches(shown, printed)
    return shown == ANYTHING or (type(shown) is type(printed) and shown == printed)


def _matches(shown: str, printed: str) -> bool:
    pattern = ".*?".join(re.escape(part) for part in shown.split(ANYTHING))
    return re.fullmatch(pattern, printed.replace("\r", ""), re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES)
def test_every_command_prints_what_the_page_shows(page: str, tmp_path: Path) -> None:
    with Reader(tmp_path) as reader:
        for block in blocks(page):
            reader.follow(block)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_one_that_can_be_followed(page: str) -> None:
    found = list(blocks(page))
    assert found
    assert {block.language for block in found if not block.left_out} <= {"bash", "text", "json", *FILES}


def test_both_readmes_show_the_same() -> None:
    """The Chinese page translates questions and what is said, not commands."""

    def outline(page: str) -> list[tuple[str, int]]:
        return [(block.language, len(block.text.splitlines())) for block in blocks(page)]

    assert outline("README.md") == outline("README.zh-CN.md")


@pytest.mark.parametrize(
    ("language", "shown", "printed", "expected"),
    [
        ("text", "id: …\ndone", "id: 7\r\nmore\r\ndone", True),
        ("text", "done", "done and more", False),
        ("json", '{"a": "x…", "…": "…"}', '{"b": 1, "a": "xyz"}', True),
        ("json", '{"a": "x"}', '{"a": "x", "b": 1}', False),
        ("json", '{"a": 1}', '{"a": true}', False),
        ("json", '[{"a": 1}, "…"]', '[{"a": 1}, 2, 3]', True),
        ("json", '[{"a": 1}, "…"]', "[]", False),
        ("json", "[1, 2]", "[1, 2, 3]", False),
    ],
)
def test_a_page_that_shows_something_else_is_found_out(language: str, shown: str, printed: str, expected: bool) -> None:
    assert agrees(language, shown, printed) is expected


def test_links_lead_to_files_that_are_there() -> None:
    pages = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))]
    dead = [(page.name, link) for page, link in links if "://" not in link and not (page.parent / link).exists()]
    assert dead == []


def test_grpcurl_is_the_real_one() -> None:
    if not GRPCURL.exists() and os.environ.get("CI") != "true":
        pytest.skip("no Go, no grpcurl: buf curl stands in for it in the tests of the pages")
    assert GRPCURL.exists()
