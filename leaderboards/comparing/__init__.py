"""A comparison of two runs, or of models of one, as a page, Markdown, text or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ...harness.comparison import SampleReader, Side, compare
from ...harness.errors import UserError
from .files import html, markdown, plain_text

if TYPE_CHECKING:
    from ...harness.outputs import ReportRequest


def comparison(request: ReportRequest, *, baseline: str = "", candidate: str = "", samples: int = 10) -> str:
    """Return a comparison in the format that is asked for.

    Args:
        request: One or two runs: the baseline's, and the candidate's if it is another one.
        baseline: Model spec of the baseline; empty for the whole run.
        candidate: Model spec of the candidate; empty for all models of its run.
        samples: How many of the samples that flipped are shown, of each direction.

    Raises:
        UserError: There is nothing to compare, or there are other than one or two runs.
    """
    if len(request.runs) not in (1, 2):
        raise UserError(f"a comparison is of one or two runs, not {len(request.runs)}", todo="name one or two")
    if len(request.runs) == 1 and not baseline:
        what, todo = "one run is compared with itself", "add --baseline SPEC, or a second run"
        raise UserError(what, where=str(request.runs[0].path), todo=todo)
    reader = SampleReader(request.plugins.registry, 0 if request.form == ".txt" else samples)
    result = compare(Side.of(request.runs[0], baseline), Side.of(request.runs[-1], candidate), reader)
    match request.form:
        case ".html":
            return html(result, reader.images)
        case ".md":
            return markdown(result)
        case ".json":
            return json.dumps(result.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        case _:
            return plain_text(result)
