"""The program of one side: it loads a cell of its own code once, and times it when it is told to.

Requests come as JSON lines on standard input, and each is answered by a line. What models print goes to standard error.

    {"load": {"cell": {...}, "plugins": [], "batch_size": 64, "device": "cpu"}}  ->  {"code": "/adaptbench"}
    {"calibrate": 0.02}  ->  {"count": 3, "call": 0.0081}     calls in a row that last so long, and one of them
    {"repeat": 3}        ->  {"wall": 0.025, "processor": 0.024}

A request that fails is answered by ``{"error": "..."}``, and one for a cell that this side's code does not have by
``{"unknown": "..."}``. The end of the input ends the program.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..identity import Settings
from ..measure.timing import calls_lasting, repeated
from ..plugins import load_plugins
from ..results import CellId
from .workload import planned, workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def main() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    side = _Side()
    ways: dict[str, Callable[[Any], dict[str, Any]]] = {
        "load": side.load, "calibrate": side.calibrate, "repeat": side.repeat,
    }  # fmt: skip
    for line in sys.stdin:
        ((request, value),) = json.loads(line).items()
        try:
            reply = ways[request](value)
        except UserError as error:
            reply = {"error": str(error)}
        replies.write(f"{json.dumps(reply)}\n")
        replies.flush()


class _Side:
    """The cell that is loaded."""

    def __init__(self) -> None:
        self._call: Callable[[], object] = int

    def load(self, work: Mapping[str, Any]) -> dict[str, str]:
        self._call = int  # the model before lets go of its memory
        gc.unfreeze()
        registry = load_plugins(work["plugins"]).registry
        try:
            cell = planned(registry, CellId(**work["cell"]))
        except UserError as error:
            return {"unknown": str(error)}
        self._call = workload(cell, Settings(batch_size=work["batch_size"], device=work["device"]))
        gc.freeze()  # each turn collects garbage: only its own
        return {"code": str(Path(__file__).resolve().parents[2])}

    def calibrate(self, seconds: float) -> dict[str, float]:
        count, one = calls_lasting(self._call, seconds)
        return {"count": count, "call": one}

    def repeat(self, count: int) -> dict[str, float]:
        return repeated(self._call, count)._asdict()


if __name__ == "__main__":
    main()
