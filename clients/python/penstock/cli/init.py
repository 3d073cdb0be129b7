"""`penstock init`: a small flow that works, to begin with."""

import re
from pathlib import Path

import click

NAME_FORM = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")

FLOW_YAML = """\
# A flow: nodes run as soon as what they refer to is there. Serve it with: penstock serve {name}
inputs:
  question:
    type: string
    is_chat_input: true
  chat_history:
    type: list
    default: []
    is_chat_history: true
outputs:
  answer:
    type: string
    reference: ${{answer.output}}
    is_chat_output: true
nodes:
- name: prompt
  type: prompt
  source:
    type: code
    path: prompt.jinja2
  inputs:
    question: ${{inputs.question}}
    rounds: ${{inputs.chat_history}}
- name: answer
  type: python
  source:
    type: code
    path: answer.py
  inputs:
    prompt: ${{prompt.output}}
"""

PROMPT = """\
You are a helpful assistant.
{% for round in rounds %}
{{ round.inputs.question }} -> {{ round.outputs.answer }}
{% endfor %}
{{ question }}
"""

ANSWER = '''\
"""Answers the prompt, word by word. Put your model here: whatever this yields is streamed to the caller."""

from collections.abc import Iterator

from penstock.flow import tool


@tool
def answer(prompt: str) -> Iterator[str]:
    question = prompt.strip().splitlines()[-1]
    yield "You said:"
    for word in question.split():
        yield f" {word}"
'''


@click.command(short_help="Write a small working chat flow.")
@click.argument("name", metavar="NAME")
def init(name: str) -> None:
    """Write a small working chat flow into the new folder NAME."""
    folder = Path(name)
    if not NAME_FORM.fullmatch(folder.name):
        raise click.UsageError(f"{folder.name!r} is no name for a flow: letters, digits, `-` and `_`, a letter first")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise click.UsageError(f"{name} exists already; choose another name") from None
    except OSError as error:
        raise click.ClickException(f"cannot make the folder {name}: {error.strerror}") from None
    (folder / "flow.dag.yaml").write_text(FLOW_YAML.format(name=name))
    (folder / "prompt.jinja2").write_text(PROMPT)
    (folder / "answer.py").write_text(ANSWER)
    click.echo(f"{name} is ready. Serve it:\n\n  penstock serve {name}\n")
