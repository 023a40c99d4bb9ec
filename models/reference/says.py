"""The constant speaker: the same text for every prompt, such as always yes or always A."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.contracts import Prompt


class Says:
    """Generates one text.

    Args:
        text: What it says.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return the text for each prompt."""
        return [self._text] * len(prompts)
