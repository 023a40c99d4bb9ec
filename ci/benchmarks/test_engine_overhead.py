"""What a cell takes over a bare loop of the same forward passes: keys, features on disk, scoring, records, costs.

Passes vary from turn to turn by more than a cell may take beyond them. So a cell is compared with its own passes: with
what loading the encoder and embedding the images took in it. A bare loop of the same, in turn, shows that
they take no longer there than they do alone.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from typing import TYPE_CHECKING, Any

import adaptbench
import pytest
from adaptbench.adapters.transformers_vision import HFVisionEncoder
from adaptbench.harness.identity import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = Settings().batch_size


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of processor time that loading the encoder and embedding blocks of images take."""
    seconds: list[float] = []

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def timing(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                seconds.append(time.process_time() - start)

        return timing

    for owner, name in ((HFVisionEncoder, "__init__"), (HFVisionEncoder, "embed")):
        monkeypatch.setattr(owner, name, timed(getattr(owner, name)))
    return seconds


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize(
    ("measuring", "most", "seconds"), [(False, 1.03, 0.25), (True, 1.05, 0.35)], ids=["answers", "answers and costs"]
)
def test_a_cell_over_a_bare_loop(
    measuring: bool, most: float, seconds: float, encoder: str, build: Any, task: Any, without_costs: Any,
    passing: list[float], side_by_side: Any, report: Any, tmp_path: Path,
) -> None:  # fmt: skip
    asked = task("glyphs-15way-5shot")
    if not measuring:
        without_costs()
    folders = (tmp_path / str(number) for number in itertools.count())
    own: list[float] = []

    def bare() -> int:
        model = build()
        starts = range(0, len(asked.inputs), SIZE)
        vectors = [model.embed([item.load() for item in asked.inputs[start : start + SIZE]]) for start in starts]
        return sum(map(len, vectors))

    def engine() -> int:
        passing.clear()
        found = adaptbench.run(encoder, asked, out=next(folders), timing=measuring).results[0].samples
        own.append(sum(passing))
        return found

    engine(), bare()  # what is imported once is not counted
    own.clear()
    times = side_by_side(engine, bare, rounds=7)
    assert times.their_result == len(asked.inputs)
    assert times.our_result == 1500
    ratio = statistics.median(ours / passes for ours, passes in zip(times.ours, own, strict=True))
    more = statistics.median(ours - passes for ours, passes in zip(times.ours, own, strict=True))
    alone = statistics.median(passes / theirs for passes, theirs in zip(own, times.theirs, strict=True))
    report(
        f"a cell with{'' if measuring else 'out'} its costs over its own passes ({alone:.3f} of a bare loop)",
        f"{min(times.ours):.2f} s", f"{min(own):.2f} s", f"{ratio:.3f} of theirs, {more:+.3f} s",
    )  # fmt: skip
    assert ratio <= most
    assert more <= seconds
