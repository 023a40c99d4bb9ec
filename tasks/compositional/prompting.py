"""The prompt of every compositional task."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def prompt_of(shown: Iterable[tuple[str, str]], query: str, instruction: str = "") -> str:
    """Return what a model reads: the instruction if any, the demonstrations, and the query without its output.

    Args:
        shown: (input, output) of each demonstration.
        query: The input that is asked.
        instruction: A sentence that stands first.
    """
    blocks = [f"input: {given}\noutput: {answer}" for given, answer in shown]
    return "\n\n".join([*filter(None, [instruction]), *blocks, f"input: {query}\noutput:"])
