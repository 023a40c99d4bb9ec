"""This project's own baseline; after a wanted change `adaptbench gate ci/gate.yaml --update` renews it."""

from pathlib import Path

import adaptbench
from adaptbench.harness.gate.check import Gate
from adaptbench.harness.gate.summary import text

CI = Path(adaptbench.__file__).parent / "ci"


def test_scores_and_flops_are_those_of_the_baseline(quick, monkeypatch):
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    gate = Gate(str(CI / "gate.yaml"), baselines=CI / "baselines")
    verdict = gate.against_baseline(gate.run(), ("exact",))
    assert verdict.exit_code == 0, text(verdict)
