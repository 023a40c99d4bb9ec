"""Table C.2 of the dissertation, computed again: FLOPs and prefill time of every row, ours beside what is printed.

The table was made at 645 prompt tokens - 576 visual, 69 others, the latency token among them - on a V100 with the
convention ``llm-viewer``. PruMerge's own numbers of visual tokens are not printed; those used here are what its
two base rows fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...harness.costing import Costing, CostRequest
from ...harness.measure.closed_form import LLM_VIEWER
from ...harness.measure.roofline import find_accelerator
from ..study import Number, Study, Table, render
from .published import read

if TYPE_CHECKING:
    from ...harness.outputs import ReportRequest
    from ...harness.registry import Registry
    from ..study import Item

_ARCHITECTURES = {"Vicuna-7B": "llava-1.5-7b", "Vicuna-13B": "llava-1.5-13b"}
_SELECTIONS = {
    "LLaVA-1.5": "",
    "Prumerge": "+prumerge(tokens=40)",
    "Prumerge+": "+prumerge-plus(tokens=164)",
    "FastV (K=2,R=0.5)": "+fastv(k=2,r=0.5)",
}
_SCHEDULERS = {
    "w/ AdaLLaVA-L": "+adallava-l(latency_token=false)",
    "w/ AdaLLaVA-H": "+adallava-h(latency_token=false)",
}
_TEXT_TOKENS = 69
_CHIP = "V100"
_CAPTION = (
    "FLOPs and predicted time of the prefill of 645 tokens on a V100, beside what is printed. No GPU was measured."
)


def efficiency(request: ReportRequest) -> str:
    """Return the table; it needs no run."""
    rows = efficiency_rows(request.plugins.registry)
    cells: list[list[Item]] = [[v if isinstance(v, str) else Number(str(v)) for v in row.values()] for row in rows]
    table = Table("Table C.2", _CAPTION, list(rows[0]), cells)
    return render(Study("Table C.2, computed again", (), [table], (), rows), request.form)


def efficiency_rows(registry: Registry) -> list[dict[str, Any]]:
    """Return a mapping for each row of the table that prints numbers: its label, ours, theirs and the spec."""
    cost_request = CostRequest(
        _TEXT_TOKENS, convention=LLM_VIEWER, accelerators=(find_accelerator(_CHIP, LLM_VIEWER.name),)
    )
    printed: dict[str, dict[str, float]] = {}
    for cell in read("C.2"):
        if isinstance(cell.value, float):
            printed.setdefault(cell.row, {})[cell.column] = cell.value
    costings: dict[str, Costing] = {}
    rows = []
    for row, numbers in printed.items():
        spec, budget = _spec(row)
        costing = costings.setdefault(spec, Costing(registry, spec))
        cost = costing.cost(cost_request, budget)
        ours = (
            round((cost.flops["prefill"] + cost.flops["head"]) / 1e12, 1),
            round(1e3 * cost.predicted[_CHIP]["prefill"]),
        )
        theirs = numbers["FLOPs (T)"], numbers["Prefill time (ms)"]
        rows.append(
            {
                "row": row,
                "TFLOPs": ours[0],
                "printed TFLOPs": theirs[0],
                "TFLOPs off by": round(ours[0] - theirs[0], 1),
                "ms": ours[1],
                "printed ms": round(theirs[1]),
                "ms off by": ours[1] - round(theirs[1]),
                "spec": cost.spec,
            }
        )
    return rows


def _spec(row: str) -> tuple[str, float | None]:
    """Spec of a row such as ``LLaVA-1.5 | w/ AdaLLaVA-L | Vicuna-7B | 85``, and its budget if it has a scheduler."""
    selection, *scheduler, model, budget = row.split(" | ")
    spec = _ARCHITECTURES[model] + _SELECTIONS[selection] + "".join(_SCHEDULERS[name] for name in scheduler)
    return spec, float(budget) / 100 if scheduler else None
