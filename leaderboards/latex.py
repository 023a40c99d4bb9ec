"""Tables for papers: LaTeX with booktabs, which shows every text as it is, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.columns import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPECIAL = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
    | {"±": r"$\pm$", "–": "--", "−": "$-$", "µ": r"\textmu{}", "…": r"\ldots{}", "[": "{[}", "]": "{]}"}
)
"""A bracket after a line break would be read as its length."""


def latex_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (), caption: str = ""
) -> str:
    """Return a ``table`` environment that needs the package ``booktabs``.

    Args:
        heads: Of the columns.
        rows: Texts that `escaped` made; bold ones are wrapped by who calls.
        numbers: Columns that are right-aligned.
        caption: As a plain text.
    """
    columns = "".join("r" if column in numbers else "l" for column in range(len(heads)))
    lines = [" & ".join(line) + r" \\" for line in ([escaped(head) for head in heads], *rows)]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            *([rf"\caption{{{escaped(caption)}}}"] if caption else []),
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def escaped(text: str) -> str:
    """A text that LaTeX shows as it is; its control characters are written out."""
    return printable(text).translate(_SPECIAL)
