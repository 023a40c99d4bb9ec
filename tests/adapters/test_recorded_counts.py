"""The records that the shipped architectures bring along are what tracing them gives.

``ADAPTBENCH_GOLDEN=write pytest tests/adapters/test_recorded_counts.py`` writes them anew.
"""

from __future__ import annotations

import json
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import adaptbench
import pytest
from adaptbench.adapters.transformers_meta import Blueprint, card
from adaptbench.harness.measure.counting import Counter, PhaseCount
from adaptbench.harness.measure.reconcile import reconcile

FOLDER = Path(adaptbench.__file__).parent / "models" / "architectures"
CARDS = [path for path in sorted(FOLDER.glob("*.json")) if "counted" in json.loads(path.read_text(encoding="utf-8"))]
"""Those with a closed form; the others are priced from their modules."""


def written(told: PhaseCount) -> dict[str, Any]:
    """A record as architectures hold it: coefficients by power, and layers as pairs of a kind and how many follow."""
    return {
        "beside": [int(c) for c in told.beside],
        "kinds": [[int(c) for c in kind] for kind in told.kinds],
        "order": [[kind, len([*layers])] for kind, layers in groupby(told.order)],
        "attention": told.attention,
    }


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_record_is_what_tracing_gives(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    if os.environ.get("ADAPTBENCH_GOLDEN") == "write":
        afresh = Blueprint(content["config"], content["source"])
        counted = Counter(afresh).record()
        content["parameters"] = afresh.traced.parameters
        content["counted"] = {phase: written(told) for phase, told in counted.items()}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    blueprint = card(str(path))
    assert Counter(blueprint, afresh=True).record() == blueprint.recorded
    assert blueprint.parameters == (blueprint.traced.parameters, blueprint.traced.active)


def test_what_is_recorded_is_not_traced() -> None:
    for path in CARDS:
        blueprint = card(str(path))
        counter = Counter(blueprint)
        assert max(reconcile(counter, blueprint).values()) < 0.01
        assert counter.traces == 0
