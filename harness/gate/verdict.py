"""What the gate found: findings with reason codes, and the exit code that they come to."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["exact", "accuracy", "time"]
Status = Literal["pass", "fail", "refused"]
_CODES = {"exact": 10, "accuracy": 11, "time": 12}
REFUSED = 13
"""Exit code where nothing failed, but something cannot be judged."""


class Finding(BaseModel):
    """What one check of one cell came to.

    Attributes:
        kind: Which check.
        cell: The cell, as shown to users.
        status: ``refused`` is "cannot be judged", which does not pass.
        code: The reason, for programs; docs/gate.md lists them.
        base: What it was.
        head: What it is.
        detail: The reason in words, and what to do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    cell: str
    status: Status
    code: str
    base: str = ""
    head: str = ""
    detail: str = ""


class Verdict(BaseModel):
    """All findings of a gate, with what is good to know about them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if all passed; else that of the first kind that failed, or 13 if something just cannot be judged."""
        failed = [_CODES[finding.kind] for finding in self.findings if finding.status == "fail"]
        if failed:
            return min(failed)
        return REFUSED if any(finding.status == "refused" for finding in self.findings) else 0

    def and_also(self, other: Verdict) -> Verdict:
        """Both verdicts as one."""
        both = {"findings": (*self.findings, *other.findings), "notes": (*self.notes, *other.notes)}
        return self.model_copy(update=both)

    @property
    def in_order(self) -> tuple[Finding, ...]:
        """The findings, what does not pass first."""
        order: tuple[Status, ...] = ("fail", "refused", "pass")
        return tuple(sorted(self.findings, key=lambda finding: order.index(finding.status)))

    @property
    def headline(self) -> str:
        """The verdict in a line."""
        counts = {status: sum(f.status == status for f in self.findings) for status in ("fail", "refused", "pass")}
        told = [
            f"{count} {word}"
            for count, word in ((counts["fail"], "failed"), (counts["refused"], "cannot be judged"))
            if count
        ]
        checks = f"{len(self.findings)} check{'s' * (len(self.findings) != 1)}"
        return f"{self.suite}: {', '.join(told)} of {checks}" if told else f"{self.suite}: {checks} passed"
