"""Baselines of the logical tasks: what one scores who applies one of two operations only, both, or none.

They are told by the task what was done leads to, and ask no model: they show what a score is worth, not what can be
inferred from a prompt. A task offers itself to them through its samples' targets: ``answers``, the accepted ones, and
``readings``, what was done -> the texts that this leads to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.specs import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...harness.contracts import Sample, Task

_FIRST_SECOND, _SECOND_FIRST, _COPIED = "first, then second", "second, then first", "copied"
MODES = {
    "first": ("first only",),
    "second": ("second only",),
    "both": (_FIRST_SECOND, _SECOND_FIRST),
    "reverse": (_SECOND_FIRST, _FIRST_SECOND),
    "copy": (_COPIED,),
}
"""Mode -> the readings that it follows: the first that a sample has."""


class RuleFollower:
    """Answers as if it had applied some operations.

    Args:
        mode: ``first`` or ``second`` operation only; ``both``, the first one before the second; ``reverse``, the
            second before the first; ``copy``. Where one order is impossible, it takes the other; where one operation
            is, it copies. A question about one operation is answered by ``both`` and ``reverse``.

    Raises:
        UserError: There is no such mode.
    """

    def __init__(self, mode: str = "both") -> None:
        if mode not in MODES:
            raise UserError(
                f"no mode {mode!r}{did_you_mean(mode, MODES)}",
                where="model rule-follower",
                todo=f"choose from {', '.join(MODES)}",
            )
        self._mode = mode

    def replay(self, task: Task, samples: Sequence[Sample]) -> dict[str, str]:  # noqa: ARG002 - targets tell all
        """Return sample id -> what this mode leads to.

        Raises:
            UserError: The task does not say what its operations lead to.
        """
        if not all(isinstance(s.target, dict) and "readings" in s.target for s in samples):
            raise UserError(
                "the task does not say what its operations lead to",
                where="model rule-follower",
                todo="run it on a logical or linguistic task",
            )
        return {sample.id: self._answer(sample.target) for sample in samples}

    def _answer(self, target: dict[str, Any]) -> str:
        readings: dict[str, list[str]] = target["readings"]
        names = MODES[self._mode]
        otherwise = target["answers"] if len(names) > 1 else readings[_COPIED]
        texts: list[str] = next((readings[name] for name in names if name in readings), otherwise)
        return texts[0]
