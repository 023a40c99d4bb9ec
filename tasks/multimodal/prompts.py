"""Prompts: Jinja templates in ``tasks/prompts``, one file a prompt. What they render is hashed into every record."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

    from .question import Question

FOLDER = Path(__file__).parent.parent / "prompts"


def render(name: str, question: Question) -> str:
    """Return the message of a question.

    Args:
        name: Template without its ending, such as ``short-answer``.
        question: What the template calls ``question``; ``letters`` are A, B, ...
    """
    return _template(name).render(question=question, letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ")


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
