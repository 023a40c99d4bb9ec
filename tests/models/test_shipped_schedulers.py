"""The schedulers that ship for the shipped LLaVA: each is found by its name, and is what its fingerprint says."""

from __future__ import annotations

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.adaptive.adallava import AdaLlavaH, AdaLlavaL
from adaptbench.models.adaptive.scheduler import load
from adaptbench.models.adaptive.shipped import SHIPPED
from adaptbench.models.pruning.prumerge import PruMergePlus
from adaptbench.models.reference.tiny_llava import tiny_llava

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = {"layers": AdaLlavaL, "heads": AdaLlavaH}


@pytest.mark.parametrize("switch", METHODS)
def test_a_checkpoint_that_ships_is_found_by_its_name(switch):
    base = PruMergePlus().apply(tiny_llava())
    for name, folder in SHIPPED[f"adallava-{switch[0]}"].items():
        named = METHODS[switch](checkpoint=name, budget=0.6).for_base(tiny_llava).apply(base)
        plain = METHODS[switch](checkpoint=folder, budget=0.6).apply(base)
        assert named.loaded is not base.loaded  # its language model was trained with it
        for own, other in zip(named.module.parameters(), plain.module.parameters(), strict=True):
            assert torch.equal(own, other)
        assert load(folder).config.switch == switch


@pytest.mark.parametrize("switch", METHODS)
def test_each_has_a_fingerprint_of_its_own(switch):
    shipped = SHIPPED[f"adallava-{switch[0]}"]
    prints = {METHODS[switch](checkpoint=name).for_base(tiny_llava).fingerprint() for name in shipped}
    assert len(prints) == len(shipped)


def test_a_name_that_does_not_ship_is_one_line():
    with pytest.raises(UserError, match="nowhere"):
        plan_model(load_plugins().registry, parse("tiny-llava+adallava-l(checkpoint=nowhere)"))
