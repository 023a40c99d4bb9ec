"""pytest-benchmark's JSON, read and written.

Two files that were recorded one after the other are not a comparison: what the machine did in between is in it. Files
of base and head that took turns are: each pair of files gives one pair of medians for each benchmark.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from ..measure.hardware import machine
from ..store.files import disk_errors
from .clock import adjusted, ratio
from .verdict import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .clock import Ratio, TimeRule
    from .timings import Timed


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Stats(_Read):
    median: float = Field(gt=0)


class _Benchmark(_Read):
    fullname: str
    stats: _Stats


class _File(_Read):
    datetime: datetime
    machine_info: dict[str, Any]
    benchmarks: list[_Benchmark]


class _Turn(NamedTuple):
    at: datetime
    side: str
    file: _File


def judge_files(bases: Sequence[Path], heads: Sequence[Path], rule: TimeRule) -> list[Finding]:
    """Judge benchmarks of base and head by the medians of files that took turns.

    Args:
        bases: Files of base, as ``pytest --benchmark-json`` writes them.
        heads: As many of head.
        rule: When head counts as slower; ``pairs`` is how many files of each there must be at least.

    Raises:
        UserError: A file is not of pytest-benchmark; the files are too few, of different machines, or did not take
            turns.
    """
    read = [(side, _read(path)) for side, paths in (("base", bases), ("head", heads)) for path in paths]
    turns = sorted((_Turn(file.datetime, side, file) for side, file in read), key=lambda turn: turn.at)
    if len(bases) != len(heads) or len(bases) < rule.pairs:
        what = f"{len(bases)} files of base and {len(heads)} of head"
        raise UserError(what, where="--benchmarks", todo=f"give {rule.pairs} of each, recorded in turn, or --pairs")
    pairs = list(zip(turns[::2], turns[1::2], strict=True))
    if any(first.side == second.side for first, second in pairs):
        what = "base and head did not take turns, so what the machine did in between is in their difference"
        raise UserError(what, where="--benchmarks", todo="run base, head, base, head, ...")
    if len({json.dumps(_machine(turn.file), sort_keys=True) for turn in turns}) > 1:
        raise UserError("the files are of different machines", where="--benchmarks", todo="record them in one job")
    ordered = [{turn.side: _medians(turn.file) for turn in pair} for pair in pairs]
    names = sorted(set.intersection(*(set(of) for pair in ordered for of in pair.values())))
    if not names:
        raise UserError("no benchmark is in all files", where="--benchmarks", todo="run the same tests on both sides")
    times = {name: [[pair[side][name] for pair in ordered] for side in ("base", "head")] for name in names}
    return _judged(times, rule)


def benchmark_json(timed: Sequence[Timed], rule: TimeRule) -> str:
    """Return the times of cells as a file of pytest-benchmark, for its tools; seconds and iterations are of calls."""
    written = [
        _benchmark(f"{one.name}[{side}]", one.name, one.times(side, rule.clock).tolist(), round(median(one.calls)))
        for one in timed
        if one.processes
        for side in one.processes[0][0].times
    ]
    content = {
        "machine_info": {
            "node": platform.node(), "machine": platform.machine(), "processor": machine(),
            "system": platform.system(), "release": platform.release(), "python_version": platform.python_version(),
            "python_implementation": platform.python_implementation(), "cpu": {"brand_raw": machine()},
        },
        "commit_info": {
            "id": "unknown", "time": None, "author_time": None, "dirty": False, "project": "adaptbench gate",
            "branch": "unknown",
        },
        "benchmarks": written,
        "datetime": datetime.now(UTC).isoformat(),
        "version": "5.3.1",
    }  # fmt: skip
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _judged(times: Mapping[str, list[list[float]]], rule: TimeRule) -> list[Finding]:
    """Judge benchmarks together; the p values are those of the ones that are long enough."""
    long = {name: pair for name, pair in times.items() if median(pair[0]) >= rule.least_call}
    rule.can_tell(max(1, len(long)))
    ratios = [ratio(np.array(base), np.array(head), rule) for base, head in long.values()]
    found = dict(zip(long, zip(ratios, adjusted(ratios), strict=True), strict=True))
    return [_finding(name, base, head, found.get(name), rule) for name, (base, head) in times.items()]


def _finding(
    name: str, base: list[float], head: list[float], found: tuple[Ratio, float] | None, rule: TimeRule
) -> Finding:
    shown = {"base": f"{1e3 * median(base):.3f} ms", "head": f"{1e3 * median(head):.3f} ms"}
    if found is None:
        what = f"less than {1e3 * rule.least_call:g} ms cannot be judged"
        return Finding(kind="time", cell=name, status="refused", code="too-short", detail=what, **shown)
    one, p = found
    detail = f"x{one.estimate:.3f} [{one.low:.3f}, {one.high:.3f}], p {p:.1g}; {len(base)} pairs of files"
    if p < rule.alpha:
        return Finding(kind="time", cell=name, status="fail", code="slower", detail=detail, **shown)
    return Finding(kind="time", cell=name, status="pass", code="not-slower", detail=detail, **shown)


def _read(path: Path) -> _File:
    with disk_errors(path, "read"):
        data = path.read_bytes()
    try:
        return _File.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"not a file of pytest-benchmark: {place} {first['msg']}"
        raise UserError(what, where=str(path), todo="write it with pytest --benchmark-json") from error


def _machine(file: _File) -> dict[str, Any]:
    return {name: file.machine_info.get(name) for name in ("node", "machine", "python_version")}


def _medians(file: _File) -> dict[str, float]:
    return {benchmark.fullname: benchmark.stats.median for benchmark in file.benchmarks}


def _benchmark(name: str, group: str, data: list[float], iterations: int) -> dict[str, Any]:
    q1, _, q3 = (float(q) for q in np.percentile(data, (25, 50, 75)))
    spread, mean = (stdev(data) if len(data) > 1 else 0.0), fmean(data)
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    beyond = sum(not low <= value <= high for value in data)
    far = sum(abs(value - mean) > spread for value in data)
    inside = [value for value in data if low <= value <= high] or data
    return {
        "group": group, "name": name, "fullname": name, "params": None, "param": None, "extra_info": {}, "options": {},
        "stats": {
            "min": min(data), "max": max(data), "mean": mean, "stddev": spread, "rounds": len(data),
            "median": median(data), "iqr": q3 - q1, "q1": q1, "q3": q3, "iqr_outliers": beyond, "stddev_outliers": far,
            "outliers": f"{far};{beyond}", "ld15iqr": min(inside), "hd15iqr": max(inside), "ops": 1 / mean,
            "total": sum(data), "iterations": iterations, "data": data,
        },
    }  # fmt: skip
