"""AdaptBench: what does this adapted model get right, and what does it cost?

The names below are the public API; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .harness.api import RunOptions, compare, load, report, run, score
    from .harness.cards import MethodCard, Metric, ModelCard, TaskCard
    from .harness.comparison import Comparison
    from .harness.contracts import Input, Prompt, Record, Sample, Task
    from .harness.errors import UserError
    from .harness.hooks import PublishedScore, hookimpl
    from .harness.image_methods import ImageMethod
    from .harness.methods import Budget, Method, Selector
    from .harness.runner import RunResult
    from .harness.sizes import Size
    from .tasks.multimodal.predictions import read_predictions
    from .tasks.multimodal.question import Question
    from .tasks.multimodal.task import Benchmark, Rule

__all__ = [
    "Benchmark",
    "Budget",
    "Comparison",
    "ImageMethod",
    "Input",
    "MaskedPrompt",
    "Method",
    "MethodCard",
    "Metric",
    "ModelCard",
    "Piece",
    "Prompt",
    "PublishedScore",
    "Question",
    "Record",
    "Rule",
    "RunOptions",
    "RunResult",
    "Sample",
    "Selector",
    "Size",
    "Task",
    "TaskCard",
    "UserError",
    "compare",
    "hookimpl",
    "load",
    "read_predictions",
    "report",
    "run",
    "score",
]

_HOMES = {
    "harness.api": ("RunOptions", "compare", "load", "report", "run", "score"),
    "harness.comparison": ("Comparison",),
    "harness.cards": ("MethodCard", "Metric", "ModelCard", "TaskCard"),
    "harness.contracts": ("Input", "MaskedPrompt", "Piece", "Prompt", "Record", "Sample", "Task"),
    "harness.errors": ("UserError",),
    "harness.hooks": ("PublishedScore", "hookimpl"),
    "harness.image_methods": ("ImageMethod",),
    "harness.methods": ("Budget", "Method", "Selector"),
    "harness.runner": ("RunResult",),
    "harness.sizes": ("Size",),
    "tasks.multimodal.predictions": ("read_predictions",),
    "tasks.multimodal.question": ("Question",),
    "tasks.multimodal.task": ("Benchmark", "Rule"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("adaptbench")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
