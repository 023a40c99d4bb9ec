"""A comparison as a file: a page that holds all it shows, Markdown for a pull request, or text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...harness.columns import columns
from ...harness.markdown import markdown_table, plain
from ..offline import data_url, environment, policy, text
from . import views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL.Image import Image

    from ...harness.comparison import Comparison, TaskComparison

MOST_BYTES = 1_000_000
"""Of Markdown: a step summary on GitHub holds 1 MiB."""
_LARGEST_IMAGE = 240
_BRIEF = 300
"""Characters of a text in a row of Markdown."""


def plain_text(comparison: Comparison) -> str:
    """The comparison as aligned columns."""
    tables = views.tables(comparison)
    lines = columns([["baseline", comparison.baseline], ["candidate", comparison.candidate]], "")
    for table in tables:
        lines += ["", *columns([table.heads, *(line.texts for line in table.lines)], "")]
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    if notes:
        lines += ["", *columns([[f"note: {note}"] for note in notes], "")]
    if comparison.unpaired:
        lines += ["", "without a partner:", *columns(views.unpaired(comparison))]
    return (
        "\n".join([*lines, "", f"{', '.join(views.facts(comparison))}; p adjusted for all rows of a table (Holm)."])
        + "\n"
    )


def markdown(comparison: Comparison) -> str:
    """The comparison as GitHub-flavoured Markdown of at most `MOST_BYTES`; rows that do not fit are counted instead."""
    page = _Page(MOST_BYTES)
    page.add(f"## {plain(comparison.candidate)} against {plain(comparison.baseline)}")
    page.add(plain(", ".join(views.facts(comparison)) + f". Scores: {views.score_name(comparison)}."))
    for place, table in enumerate(views.tables(comparison)):
        if place:
            page.add(f"### {table.title}")
        page.table(table.heads, [line.texts for line in table.lines], range(len(table.names) + 1, len(table.heads)))
        page.list(table.notes)
    if comparison.unpaired:
        page.add("### Without a partner")
        page.table(["side", "task", "model", "reason"], views.unpaired(comparison))
    for task in comparison.tasks:
        _flipped(page, task)
    page.add("<details><summary>How to read this</summary>")
    page.list([f"{word}: {meaning}" for word, meaning in views.HOW_TO_READ])
    page.add("</details>")
    return page.text


def html(comparison: Comparison, images: Mapping[tuple[str, int, str], Sequence[tuple[str, Image]]]) -> str:
    """The comparison as a page that holds all it shows; nothing on it runs."""
    from markupsafe import Markup

    shown: str = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            css=Markup(text("board.css") + text("comparison.css")),  # noqa: S704 - our own files
            policy=policy([], images=True),
            comparison=comparison,
            facts=[*views.facts(comparison), f"Scores: {views.score_name(comparison)}"],
            tables=views.tables(comparison),
            marks=views.MARKS,
            flipped=[_flipped_view(task, images) for task in comparison.tasks if task.flips.samples],
            unpaired=views.unpaired(comparison),
            how=views.HOW_TO_READ,
        )
    )
    return shown


class _Page:
    """Markdown that grows up to a number of bytes, cut between rows."""

    def __init__(self, most: int) -> None:
        self._left, self._parts = most, list[str]()

    @property
    def text(self) -> str:
        return "\n\n".join(self._parts) + "\n"

    def add(self, part: str) -> bool:
        """Add a part if it fits."""
        size = len(part.encode("utf-8", "replace")) + 2
        if size > self._left:
            return False
        self._left -= size
        self._parts.append(part)
        return True

    def list(self, items: Sequence[str]) -> None:
        """Add items, one a line."""
        if items:
            self.add("\n".join(f"- {plain(item)}" for item in items))

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> None:
        """Add a table, or as many of its rows as fit."""
        escaped = [[plain(text) for text in row] for row in rows]
        kept = len(escaped)
        while kept and not self.add(markdown_table(heads, escaped[:kept], numbers)):
            kept //= 2
        if kept < len(escaped):
            self.add(f"*{len(escaped) - kept:,} of {len(escaped):,} rows are left out: the page would be too long.*")


def _flipped(page: _Page, task: TaskComparison) -> None:
    flips = task.flips
    if not flips.samples:
        return
    counts = f"{len(flips.lost):,} lost, {len(flips.gained):,} gained"
    page.add(f"### {plain(', '.join(views.named(task.candidate)))}: {counts}")
    if flips.unasked:
        page.add(plain(f"Without questions: {flips.unasked}."))
    heads = ["", "sample", "question", "expected", "baseline", "candidate", "why"]
    rows = [
        ["gained" if one.gained else "lost", one.sample, one.question, one.truth, one.baseline, one.candidate, one.why]
        for one in flips.samples
    ]
    page.table(heads, [[_cut(text) for text in row] for row in rows])


def _flipped_view(
    task: TaskComparison, images: Mapping[tuple[str, int, str], Sequence[tuple[str, Image]]]
) -> dict[str, object]:
    samples = [
        (
            one,
            [
                (caption, data_url(image, _LARGEST_IMAGE))
                for caption, image in images.get((task.task, task.seed, one.sample), ())
            ],
        )
        for one in task.flips.samples
    ]
    return {"title": ", ".join(views.named(task.candidate)), "flips": task.flips, "samples": samples}


def _cut(text: str) -> str:
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"
