"""Jinja2 templates of prompts, as prompt flow renders them: sandboxed, with nothing escaped, undefined names empty."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import SandboxedEnvironment

from penstock.media import Image
from penstock_server.flows.templates.marks import END, IMAGE, RoleLines, is_marked
from penstock_server.flows.templates.messages import Message, split, without_marks


class PromptText(str):
    """A rendered prompt that remembers the role lines of its template, and the images in it.

    Given to another template as it is, they are role lines there too; anything made of it is plain text.

    Attributes:
        marked: the same text with its marks.
        images: the images, by the number that stands for each of them.
    """

    __slots__ = ("images", "marked")
    marked: str
    images: Mapping[int, Image]

    def __new__(cls, marked: str, images: Mapping[int, Image]) -> "PromptText":
        """The text of what a template wrote."""
        text = super().__new__(cls, without_marks(marked, images))
        text.marked = marked
        text.images = images
        return text

    def __getnewargs__(self) -> tuple[str, Mapping[int, Image]]:  # type: ignore[override]
        return self.marked, self.images


class TemplateProblem(Exception):
    """A text that is no template.

    Attributes:
        line: where, from 1.
    """

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


class Template:
    """A compiled template.

    Attributes:
        variables: the names that it reads and does not set itself.
    """

    def __init__(self, source: str, path: Path) -> None:
        """Compiles a template.

        Args:
            path: its file, which tracebacks name.

        Raises:
            TemplateProblem: it is none.
        """
        try:
            self.variables = frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(source)))
            code = _ENVIRONMENT.compile(source, path.name, str(path))
        except jinja2.TemplateSyntaxError as error:
            raise TemplateProblem(error.message or "it cannot be read", error.lineno) from None
        except RecursionError:
            raise TemplateProblem("it nests too deep", 1) from None
        self._template = jinja2.Template.from_code(_ENVIRONMENT, code, _ENVIRONMENT.make_globals(None))

    def render(self, values: Mapping[str, object]) -> str:
        """The text. It executes what the template and its values say, so it may block, and raise anything."""
        rendered = self._template.render(values)
        return PromptText(rendered, dict(_images(values))) if is_marked(rendered) else rendered

    def messages(self, values: Mapping[str, object]) -> list[Message]:
        """The text as messages for a chat model; roles are those that the template's author wrote, and no others.

        Lists are written with one item a line, as prompt flow does in templates for chat models.

        Raises:
            NotMessages: the text is no list of messages.
            Exception: the template raised, or one of its values.
        """
        chat = {name: _with_chat_lists(value) for name, value in values.items()}
        rendered = self._template.render(chat)
        return split(rendered, dict(_images(chat)))


class _ChatList(list[Any]):
    def __str__(self) -> str:
        return "\n".join(map(str, self))


def _with_chat_lists(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_chat_lists(item) for key, item in value.items()}
    return _ChatList(map(_with_chat_lists, value)) if isinstance(value, list) else value


def _images(value: object) -> Iterator[tuple[int, Image]]:
    if isinstance(value, Image):
        yield id(value), value
    elif isinstance(value, PromptText):
        yield from value.images.items()
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _images(item)


def _finalized(value: object) -> object:
    """What an expression writes: of a prompt its marks too, and of an image a mark that stands for it."""
    if isinstance(value, PromptText):
        return value.marked
    return f"{IMAGE}{id(value)}{END}" if isinstance(value, Image) else value


_ENVIRONMENT = SandboxedEnvironment(
    trim_blocks=True, keep_trailing_newline=True, autoescape=False, finalize=_finalized, extensions=[RoleLines]
)
"""Text for a model is no HTML, so nothing is escaped."""
