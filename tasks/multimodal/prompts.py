"""Prompts: Jinja templates in ``tasks/prompts``, one file per prompt. What they render is hashed into every record."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import jinja2

    from .question import Question

FOLDER = Path(__file__).parent.parent / "prompts"


def render(prompt: str | Callable[[Question], str], question: Question) -> str:
    """Return the message of a question.

    Args:
        prompt: Name of a template without its ending, such as ``short-answer``, or a function that writes the message.
        question: What the template calls ``question``; ``letters`` are A, B, ...
    """
    if callable(prompt):
        return prompt(question)
    return _template(prompt).render(question=question, letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@functools.cache
def _template(name: str) -> jinja2.Template:
    import jinja2

    # Plain text for a model, not a page: nothing is escaped. The last line feed of a file is not part of the prompt.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701
    )
    return environment.get_template(f"{name}.j2")
