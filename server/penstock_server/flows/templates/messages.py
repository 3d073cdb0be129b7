"""The messages of a rendered template.

The form is prompt flow's: a line that holds nothing but a role and a colon, maybe after a `#`, begins a message.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock.media import Image
from penstock_server.flows.templates.marks import END, HEADERS, IMAGE, MARKED, NAMED, ROLES, VALUE_ROLES, unmarked


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message for a model."""

    role: str
    content: str | tuple[str | Image, ...] = ""
    """Text; where there are images, they and the text between them, in order."""
    name: str = ""
    """Who speaks; empty where the template does not say. A `function` always has one."""
    tool_call_id: str = ""
    """The call that a `tool` answers."""
    tool_calls: tuple[object, ...] = ()
    """The calls that the `assistant` asked for."""


class NotMessages(Exception):
    """A rendered template that is no list of messages; the text says why, and what to do."""


def split(rendered: str, images: Mapping[int, Image]) -> list[Message]:
    """The messages of a rendered template that still has its marks.

    Args:
        images: the images in it, by their number.

    Raises:
        NotMessages: text stands before the first role, or a `tool` or a `function` lacks what it needs.
    """
    before, *sections = _sections(rendered)
    text = unmarked(before.text).strip()
    if text:
        hint = "a template for a chat model begins with a line such as `system:` or `user:`"
        raise NotMessages(f"there is text before the first role, {text[:_SHOWN_CHARS]!r}; {hint}")
    return [_message(section, images) for section in sections]


def without_marks(rendered: str, images: Mapping[int, Image]) -> str:
    """The text of a rendered template; images are written as `str` writes them."""
    return unmarked(_IMAGE_MARK.sub(lambda found: str(images[int(found.group(1))]), rendered))


@dataclass(frozen=True, slots=True)
class _Section:
    """A role and what follows its line, with the marks of headers and of images."""

    role: str
    text: str


def _sections(rendered: str) -> Iterator[_Section]:
    """What comes before the first role, and then each role's section."""
    role, begin = "", 0
    for found in MARKED.finditer(rendered):
        following = _role(found)
        line = rendered.rfind("\n", 0, found.start()) + 1
        if following and not unmarked(rendered[max(line, begin) : found.start()]).strip(" \t#"):
            yield _Section(role, rendered[begin : max(line, begin)])
            role, begin = following, found.end()
    yield _Section(role, rendered[begin:])


def _role(found: re.Match[str]) -> str:
    """The role that something marked names; empty where it names none."""
    word = _word(found)
    return word if word in (VALUE_ROLES if found.group(1) == NAMED else ROLES) else ""


def _word(found: re.Match[str]) -> str:
    return found.group(2).strip(" \t\n#").removesuffix(":").rstrip().lower()


def _message(section: _Section, images: Mapping[int, Image]) -> Message:
    headers, text = _headers(section.text)
    role = section.role
    if role == "assistant" and (calls := _calls(headers.get("tool_calls", ""))):
        return Message(role=role, tool_calls=calls)
    if role == "tool":
        if not headers.get("tool_call_id") or "content" not in headers:
            raise NotMessages("a `tool` message needs the lines `## tool_call_id:` and `## content:`")
        return Message(role=role, tool_call_id=headers["tool_call_id"], content=_content(text, images))
    if headers.get("name") and "content" in headers:
        return Message(role=role, name=headers["name"], content=_content(text, images))
    if role == "function":
        raise NotMessages("a `function` message needs the lines `## name:` and `## content:`")
    return Message(role=role, content=_content(section.text, images))


def _headers(text: str) -> tuple[dict[str, str], str]:
    """The headers at the beginning of a section, and the text after the last one; `content` is the last."""
    headers: dict[str, str] = {}
    name, begin = "", 0
    for found in MARKED.finditer(text):
        before = unmarked(text[begin : found.start()]).strip()
        if _word(found) not in HEADERS or (not name and before):
            break
        if name:
            headers[name] = before
        name, begin = _word(found), found.end()
        if name == "content":
            break
    if name:
        headers[name] = unmarked(text[begin:]).strip()
    return headers, text[begin:]


def _calls(text: str) -> tuple[object, ...]:
    """Calls as Python writes them, a list or one a line; none where the text is something else."""
    try:
        found = ast.literal_eval(text if text.startswith("[") else f"[{','.join(text.splitlines())}]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    return tuple(found) if isinstance(found, list) else ()


def _content(text: str, images: Mapping[int, Image]) -> str | tuple[str | Image, ...]:
    """The content without the blank lines around it; what ends its last line stays, as in prompt flow."""
    text = _LAST_BLANK_LINES.sub("\n", _FIRST_BLANK_LINES.sub("", text))
    parts: list[str | Image] = []
    begin = 0
    for found in _IMAGE.finditer(text):
        parts += [unmarked(text[begin : found.start()]), images[int(found.group(1) or found.group(2))]]
        begin = found.end()
    parts.append(unmarked(text[begin:]))
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], str) else ""
    return tuple(part for part in parts if not isinstance(part, str) or part.strip())


_SHOWN_CHARS = 60
_FIRST_BLANK_LINES = re.compile(r"\A\s*\n")
_LAST_BLANK_LINES = re.compile(r"\n\s*\Z")
_IMAGE_MARK = re.compile(rf"{IMAGE}(\d+){END}")
_IMAGE = re.compile(rf"!\[[ \t]*image[ \t]*\]\([ \t]*{_IMAGE_MARK.pattern}[ \t]*\)|{_IMAGE_MARK.pattern}")
