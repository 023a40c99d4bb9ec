"""The records that the shipped architectures bring along are what tracing them gives.

``ADAPTBENCH_GOLDEN=write pytest tests/adapters/test_recorded_counts.py`` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import adaptbench
import pytest
from adaptbench.adapters.transformers_meta import Blueprint, card
from adaptbench.harness.measure.counting import Counter
from adaptbench.harness.measure.reconcile import reconcile

CARDS = sorted((Path(adaptbench.__file__).parent / "models" / "architectures").glob("*.json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_record_is_what_tracing_gives(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    if os.environ.get("ADAPTBENCH_GOLDEN") == "write":
        content["counted"] = {
            phase: {"one": [int(c) for c in told.one], "two": [int(c) for c in told.two], "attention": told.attention}
            for phase, told in Counter(Blueprint(content["config"], content["source"])).record().items()
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    blueprint = card(str(path))
    assert Counter(blueprint, afresh=True).record() == blueprint.recorded


def test_what_is_recorded_is_not_traced() -> None:
    for path in CARDS:
        blueprint = card(str(path))
        counter = Counter(blueprint)
        assert max(reconcile(counter, blueprint).values()) < 0.01
        assert counter.traces == 0
