"""What a cell takes over a bare loop of the same forward passes: keys, features on disk, scoring, records, costs."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

import adaptbench
import pytest
from adaptbench.harness.identity import Settings

if TYPE_CHECKING:
    from pathlib import Path

SIZE = Settings().batch_size


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize(
    ("measuring", "most", "seconds"), [(False, 1.03, 0.25), (True, 1.05, 0.35)], ids=["answers", "answers and costs"]
)
def test_a_cell_over_a_bare_loop(
    measuring: bool, most: float, seconds: float, encoder: str, build: Any, task: Any, without_costs: Any,
    side_by_side: Any, report: Any, tmp_path: Path,
) -> None:  # fmt: skip
    asked = task("glyphs-15way-5shot")
    if not measuring:
        without_costs()
    folders = (tmp_path / str(number) for number in itertools.count())

    def bare() -> int:
        model = build()
        starts = range(0, len(asked.inputs), SIZE)
        vectors = [model.embed([item.load() for item in asked.inputs[start : start + SIZE]]) for start in starts]
        return sum(map(len, vectors))

    def engine() -> int:
        return adaptbench.run(encoder, asked, out=next(folders), timing=measuring).results[0].samples

    engine(), bare()  # what is imported once is not counted
    times = side_by_side(engine, bare, rounds=7)
    assert times.their_result == len(asked.inputs)
    assert times.our_result == 1500
    ratio = 1 / times.ratio()
    more = statistics.median(ours - theirs for ours, theirs in zip(times.ours, times.theirs, strict=True))
    report(
        f"a cell ({'with' if measuring else 'without'} its costs) over a bare loop of the same forward passes",
        f"{min(times.ours):.2f} s", f"{min(times.theirs):.2f} s", f"{ratio:.3f} of theirs, {more:+.2f} s",
    )  # fmt: skip
    assert ratio <= most
    assert more <= seconds
