"""The schedulers that ship for the shipped LLaVA: each is found by its name, and is what its fingerprint says."""

from __future__ import annotations

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.models.adaptive.adallava import adallava_h, adallava_l
from adaptbench.models.adaptive.scheduler import load
from adaptbench.models.adaptive.shipped import SHIPPED
from adaptbench.models.pruning.prumerge import prumerge_plus
from adaptbench.models.reference.tiny_llava import tiny_llava

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = {"layers": adallava_l, "heads": adallava_h}


@pytest.mark.parametrize("switch", METHODS)
def test_a_checkpoint_that_ships_is_found_by_its_name(switch):
    base = prumerge_plus(tiny_llava())
    for name, folder in SHIPPED[switch].items():
        named = METHODS[switch](base, checkpoint=name, budget=0.6)
        plain = METHODS[switch](base, checkpoint=folder, budget=0.6)
        assert named.loaded is not base.loaded  # its language model was trained with it
        for own, other in zip(named.module.parameters(), plain.module.parameters(), strict=True):
            assert torch.equal(own, other)
        assert load(folder).config.switch == switch


@pytest.mark.parametrize("switch", METHODS)
def test_each_has_a_fingerprint_of_its_own(switch):
    prints = {METHODS[switch].fingerprint(checkpoint=name) for name in SHIPPED[switch]}
    assert len(prints) == len(SHIPPED[switch])


def test_a_name_that_does_not_ship_is_one_line():
    with pytest.raises(UserError, match="nowhere"):
        adallava_l.fingerprint(checkpoint="nowhere")
