"""``adaptbench run`` with several workers, and in parts."""

import json
from pathlib import Path

import pytest

TOYS = str(Path(__file__).parents[1] / "toys.py")
TASKS = ["toy-images(samples=20)", "toy-images(seed=1)", "toy-words(samples=70)"]
ARGUMENTS = ("run", "--plugin", TOYS, "--model", "toy-vectors", "--model", "toy-adder", "--no-timing")


def test_runs_shards_that_share_a_run_or_are_reported_together(cli, tmp_path, written):
    tasks = [word for task in TASKS for word in ("--task", task)]
    assert cli(*ARGUMENTS, *tasks, "--out", "whole").status == 0
    for number in (1, 2, 3, 4):
        done = cli(*ARGUMENTS, *tasks, "--out", "shared", "--shard", f"{number}/4")
        assert (done.status, done.out.splitlines()[0]) == (0, f"{'0 cells' if number == 1 else '1 cell'} in shared")
        assert cli(*ARGUMENTS, *tasks, "--out", f"own/{number}", "--shard", f"{number}/4").status == 0
    assert written(tmp_path / "shared") == written(tmp_path / "whole")
    assert cli("report", "own", "--out", "own.csv").status == 0
    assert cli("report", "whole", "--out", "whole.csv").status == 0
    own, whole = (Path(name).read_text().splitlines() for name in ("own.csv", "whole.csv"))
    assert len(own) == len(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "--workers: one process is one worker; add --executor processes"),
        (["--executor", "proceses"], "unknown executor 'proceses' (did you mean 'processes' or 'in-process'?); choose"),
        (["--devices", "cpu,cpu"], "--devices: each is for a process; use --executor processes, or --device"),
        (["--executor", "processes", "--devices", "cpu,cpu", "--workers", "3"], "--devices cpu,cpu: 3 workers are"),
        (["--executor", "processes", "--devices", "cpu,cuda:0"], "--devices: cpu and cuda round differently"),
        (["--executor", "processes", "--devices", "cpu", "--device", "cpu"], "--device cpu: --devices says it"),
        (["--executor", "processes", "--device", "cuda:7"], "device cuda:7: it is one device"),
        (["--ray-address", "auto"], "--ray-address: it is for Ray; add --executor ray, or leave it out"),
        (["--executor", "processes", "--gpus-per-cell", "1"], "--gpus-per-cell: it is for Ray"),
        (["--executor", "processes", "--memory-per-cell", "2"], "--memory-per-cell: it is for Ray"),
        (["--executor", "ray", "--devices", "cpu"], "--devices: each is for a process; use --executor processes"),
        (["--shard", "3/2"], "--shard 3/2: it is not a part; write 1/8, 2/8, ... 8/8"),
        (["--shard", "0/2"], "--shard 0/2: it is not a part"),
        (["--shard", "half"], "--shard half: it is not a part"),
    ],
)
def test_refuses_what_does_not_go_together(cli, options, message):
    done = cli(*ARGUMENTS[:5], "--task", TASKS[0], *options)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_shows_json_alone_on_standard_output(shell, tmp_path):
    (tmp_path / "talks.py").write_text(
        "import adaptbench\nclass Model:\n    def embed(self, images):\n        print('hello')\n"
        "        return [[1.0, 0.0]] * len(images)\n@adaptbench.hookimpl\ndef register(registry):\n"
        "    registry.model('talks', Model, card=adaptbench.ModelCard(capabilities=('embed',)))\n"
    )
    arguments = ["run", "--plugin", "talks.py", "--plugin", TOYS, "--model", "talks", "--task", TASKS[0]]
    done = shell(*arguments, "--executor", "processes", "--devices", "cpu", "--no-timing", "--json")
    assert done.status == 0, done.err
    (cell,) = json.loads(done.out)["cells"]
    assert cell["cell"]["task"] == TASKS[0]
    assert "hello" in done.err
