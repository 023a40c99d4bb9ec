"""A sample of what ``adaptbench doctor --architectures`` prices: a model type of each kind, with its default config."""

from __future__ import annotations

import pytest
from adaptbench.adapters.stock import Stock
from adaptbench.harness.measure.coverage import NOT_BUILT, PRICED, REFUSED, TEXT_ONLY, Coverage, cover, price, totals

PHASES = {
    ("causal", "mistral"): {"prefill", "head"},
    ("causal", "emu3"): {"prefill", "head"},  # the text model of one of images and texts
    ("image-text", "internvl"): {"vision", "projector", "prefill", "head"},
    ("image classification", "vit"): {"vision", "head"},
    ("zero-shot", "siglip"): {"vision", "text"},
    ("masked", "distilbert"): {"prefill", "head"},
    ("encoder-decoder", "bart"): {"encoder", "prefill", "head"},
}


@pytest.mark.parametrize(("kind", "model_type"), PHASES)
def test_a_default_config_is_priced(kind: str, model_type: str) -> None:
    found = price(Stock, kind, model_type)
    assert (found.state, found.reason) == (PRICED, "")
    assert set(found.flops) == PHASES[kind, model_type]
    assert found.flops["prefill" if "prefill" in found.flops else "vision"] > 10**9


def test_what_transformers_does_not_build_has_its_own_error() -> None:
    found = price(Stock, "image-text", "aya_vision")
    assert found.state == NOT_BUILT
    assert found.reason.startswith("ValueError: embed_dim must be divisible")


def test_model_types_of_a_kind() -> None:
    assert {"llama", "gpt2"} < set(Stock.model_types("AutoModelForCausalLM"))


def test_what_takes_too_long_is_refused_and_the_next_one_is_priced() -> None:
    assert [one.state for one in cover(Stock, [("causal", "llama")], 0.001)] == [REFUSED]


def test_totals_count_every_state() -> None:
    found = [
        Coverage("causal", "a", PRICED),
        Coverage("causal", "b", TEXT_ONLY, "why"),
        Coverage("masked", "a", PRICED),
    ]
    assert totals(found)["causal"] == {PRICED: 1, TEXT_ONLY: 1, REFUSED: 0, NOT_BUILT: 0}
