"""A sample of what ``adaptbench doctor --architectures`` prices: a model type of each kind, with its default config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from adaptbench.adapters.image_layouts import vision_of
from adaptbench.adapters.stock import Stock
from adaptbench.harness.coverage import (
    NOT_BUILT,
    PRICED,
    REFUSED,
    TEXT_ONLY,
    Coverage,
    cover,
    journal_line,
    price,
    read_journal,
    tables,
    totals,
)
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import load_plugins

if TYPE_CHECKING:
    from pathlib import Path

PHASES = {
    ("causal", "mistral"): {"prefill", "head"},
    ("causal", "emu3"): {"prefill", "head"},  # the text model of one of images and texts
    ("image-text", "internvl"): {"vision", "projector", "prefill", "head"},
    ("image classification", "vit"): {"vision", "head"},
    ("zero-shot", "siglip"): {"vision", "text"},
    ("masked", "distilbert"): {"prefill", "head"},
    ("encoder-decoder", "bart"): {"encoder", "prefill", "head"},
    ("text encoder", "bert"): {"prefill"},
    ("backbone", "dinov2"): {"vision"},
}
FOUND = [
    Coverage("causal", "a", PRICED, flops={"prefill": 3}),
    Coverage("causal", "b", TEXT_ONLY, "it is not known what a|b look like"),
    Coverage("masked", "a", PRICED),
]


@pytest.mark.parametrize(("kind", "model_type"), PHASES)
def test_a_default_config_is_priced(kind: str, model_type: str) -> None:
    found = price(load_plugins(()).registry, kind, model_type)
    assert (found.state, found.reason) == (PRICED, "")
    assert set(found.flops) == PHASES[kind, model_type]
    assert found.flops["prefill" if "prefill" in found.flops else "vision"] > 10**9


def test_what_transformers_does_not_build_has_its_own_error() -> None:
    found = price(load_plugins(()).registry, "image-text", "aya_vision")
    assert found.state == NOT_BUILT
    assert found.reason.startswith("ValueError: embed_dim must be divisible")


def test_model_types_of_a_kind() -> None:
    assert {"llama", "gpt2"} < set(Stock.model_types("AutoModelForCausalLM"))


def test_what_takes_too_long_is_refused() -> None:
    found = list(cover((), [("causal", "llama")], 0.001))
    assert [(one.state, one.reason) for one in found] == [(REFUSED, "it takes over 0.001 s")]


def test_the_encoder_of_images_may_lie_in_another_encoder() -> None:
    assert vision_of(Stock("t5gemma2")._config).image_size == 896


def test_totals_count_every_state() -> None:
    assert totals(FOUND)["causal"] == {PRICED: 1, TEXT_ONLY: 1, REFUSED: 0, NOT_BUILT: 0}


def test_tables_list_what_is_not_priced() -> None:
    written = tables(FOUND)
    assert "| causal | 2 | 1 | 1 | 0 | 0 |" in written
    assert "| causal | `b` | it is not known what a\\|b look like |" in written
    assert "`a`" not in written


def test_a_journal_holds_what_was_found_but_for_a_line_that_was_cut_short(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    assert read_journal(journal) == []
    journal.write_text("".join(map(journal_line, FOUND)) + journal_line(FOUND[0])[:20], encoding="utf-8")
    assert read_journal(journal) == FOUND


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text("[]\n", encoding="utf-8")
    with pytest.raises(UserError, match="journal"):
        read_journal(journal)
