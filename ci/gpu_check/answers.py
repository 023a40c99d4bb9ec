"""Are answers the same? The shipped ``tiny-llava``, asked by whole runs on the processor and on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .setting import raise_if_failed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .setting import Setting, Tell

_METHODS = ("", "+adallava-l@0.85", "+adallava-l@0.6", "+adallava-h@0.85", "+adallava-h@0.6", "+fastv(k=2,r=0.5)")
SPECS = tuple(f"tiny-llava{methods}" for methods in (*_METHODS, "+prumerge-plus"))
TASKS = ("shapes-open", "shapes-pope(scenes=8)")
_SAMPLES, _SMALL_SAMPLES, _SHOWN = 40, 4, 5


def run(setting: Setting, tell: Tell) -> None:
    """Run everything twice, and compare the answers sample by sample."""
    import adaptbench

    samples = _SMALL_SAMPLES if setting.small else _SAMPLES
    figures: dict[str, Any] = {"devices": ["cpu", setting.device], "samples": samples, "rows": []}
    for number, spec in enumerate(SPECS[:2] if setting.small else SPECS):
        try:
            there, here = (
                dict(_cells(adaptbench.run(spec, list(TASKS), sample=samples, device=device, out=folder).path))
                for device, folder in (
                    (setting.device, setting.folder / f"there-{number}"),
                    ("cpu", setting.folder / f"here-{number}"),
                )
            )
            figures["rows"] += [_compared(cell, here[cell], there[cell]) for cell in here]
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are compared
            figures["rows"].append({"model": spec, "error": f"{type(error).__name__}: {error}"})
        tell(figures)
    raise_if_failed(figures["rows"])


def _cells(run: Path) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """(Model, task) -> its answers by sample, and what its prefill was timed at."""
    from adaptbench.harness.store import RunDirectory
    from adaptbench.leaderboards.wording import budgeted

    for journal in RunDirectory.existing(run).journals():
        result = journal.result()
        if result is not None:
            timing = journal.timing()
            yield (
                (budgeted(result.cell.model, result.cell.budget), result.cell.task),
                {
                    "answers": {record.sample: record.output for record in journal.records()},
                    "device": timing.device if timing else "",
                    "seconds": timing.median / timing.inputs if timing else None,
                    "peak_bytes": timing.peak_memory if timing else None,
                },
            )


def _compared(cell: tuple[str, str], here: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    answers, others = here.pop("answers"), there.pop("answers")
    differing = [sample for sample, answer in answers.items() if others.get(sample) != answer]
    return {
        "model": cell[0],
        "task": cell[1],
        "samples": len(answers),
        "equal": len(answers) - len(differing),
        "different": [
            {"sample": sample, "here": answers[sample], "there": others.get(sample)} for sample in differing[:_SHOWN]
        ],
        "here": here,
        "there": there,
    }
