"""pytest-benchmark's JSON: files that took turns are judged, others refused; what is written is of its form."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.gate.benchmark_json import benchmark_json, judge_files
from adaptbench.harness.gate.clock import Repetition, TimeRule
from adaptbench.harness.gate.timings import Timed

RULE = TimeRule(pairs=7)
START = datetime(2026, 1, 1, tzinfo=UTC)


def written(folder, side, minutes, medians, node="n"):
    content = {
        "datetime": (START + timedelta(minutes=minutes)).isoformat(),
        "machine_info": {"node": node, "machine": "x86_64", "python_version": "3.11"},
        "benchmarks": [{"fullname": name, "stats": {"median": median, "data": []}} for name, median in medians.items()],
    }
    path = folder / f"{side}-{minutes}.json"
    path.write_text(json.dumps(content))
    return path


def files(folder, factor, turns=lambda i: (2 * i, 2 * i + 1), count=7):
    noise = np.random.default_rng(0)
    pairs = [(1 + noise.random(), *turns(i)) for i in range(count)]
    bases = [written(folder, "base", at, {"t.py::a": 0.01 * x, "t.py::tiny": 1e-5}) for x, at, _ in pairs]
    heads = [written(folder, "head", at, {"t.py::a": factor * 0.01 * x, "t.py::tiny": 2e-5}) for x, _, at in pairs]
    return bases, heads


@pytest.mark.parametrize(("factor", "code"), [(1.5, "slower"), (1.0, "not-slower"), (0.5, "not-slower")])
def test_files_that_took_turns_are_judged(tmp_path, factor, code):
    found = {f.cell: f.code for f in judge_files(*files(tmp_path, factor), RULE)}
    assert found == {"t.py::a": code, "t.py::tiny": "too-short"}


def test_files_of_one_after_the_other_are_refused(tmp_path):
    with pytest.raises(UserError, match="did not take turns"):
        judge_files(*files(tmp_path, 1, turns=lambda i: (i, 100 + i), count=8), RULE)


def test_too_few_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="3 files of base and 3 of head"):
        judge_files(*files(tmp_path, 1, count=3), RULE)


def test_files_of_two_machines_are_refused(tmp_path):
    bases, heads = files(tmp_path, 1)
    written(tmp_path, "head", 1, {"t.py::a": 1.0}, node="other")
    with pytest.raises(UserError, match="different machines"):
        judge_files(bases, heads, RULE)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"benchmarks": []}', '{"datetime": "x", "machine_info": {}, "benchmarks": 1}']
)
def test_other_files_are_refused(tmp_path, content):
    bases, heads = files(tmp_path, 1)
    bases[0].write_text(content)
    with pytest.raises(UserError, match="not a file of pytest-benchmark"):
        judge_files(bases, heads, RULE)


def test_what_is_written_is_of_its_form_and_can_be_read():
    done = [
        Repetition(turns, {side: {"wall": wall, "processor": 1.0} for side in ("base", "control", "head")})
        for turns, wall in ((1, 5.0), (2, 12.0), (1, 7.0))
    ]
    found = json.loads(benchmark_json([Timed("cell", 5, 1.0, [done]), Timed("short", 1, 1e-4)], RULE))
    assert [b["name"] for b in found["benchmarks"]] == ["cell[base]", "cell[control]", "cell[head]"]
    stats = found["benchmarks"][0]["stats"]
    assert stats["data"] == [1.0, 1.2, 1.4]
    assert (stats["median"], stats["min"], stats["rounds"], stats["iterations"]) == (1.2, 1.0, 3, 5)
    assert {"machine_info", "commit_info", "datetime", "version"} <= set(found)
