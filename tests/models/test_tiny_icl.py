"""The shipped in-context learner: it loads, it is small, and it reads what a sign means from the examples."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from adaptbench.harness.contracts import Prompt
from adaptbench.models.reference.tiny_icl import WEIGHTS, tiny_icl
from adaptbench.models.reference.train_tiny_icl import Recipe
from adaptbench.tasks.compositional.prompting import prompt_of
from adaptbench.tasks.compositional.simple import on_side
from safetensors import safe_open

SHOWN = ("apple", "cow", "farm", "river", "stone", "paper", "yellow", "candle", "market", "button")
ASKED = ("bee", "crane", "goose", "jaguar", "lens", "otter", "piano", "wolf", "zebra")


def answers(prompts: list[str]) -> list[str]:
    return [text.strip() for text in tiny_icl().generate([Prompt(text, stop=("\n",)) for text in prompts])]


def test_it_copies_or_capitalises_as_the_examples_do() -> None:
    """One sign for both functions; words that stood in no training prompt. Not every word comes out right."""
    assert all(on_side(word, "queries") for word in ASKED)
    loud = answers([prompt_of([(f"* {word}", word.upper()) for word in SHOWN], f"* {word}") for word in ASKED])
    plain = answers([prompt_of([(f"* {word}", word) for word in SHOWN], f"* {word}") for word in ASKED])
    assert sum(answer == word.upper() for answer, word in zip(loud, ASKED, strict=True)) >= 7
    assert sum(answer == word for answer, word in zip(plain, ASKED, strict=True)) >= 7


def test_it_adds_one() -> None:
    shown = [(str(number), str(number + 1)) for number in (12, 407, 86, 233, 951, 640, 778, 115, 524, 362)]
    assert answers([prompt_of(shown, str(number)) for number in (435, 684, 77)]) == ["436", "685", "78"]


def test_a_batch_is_answered_as_one_by_one() -> None:
    prompts = [prompt_of([(f"* {word}", word.upper()) for word in SHOWN[:k]], "* lens") for k in (1, 4, 9)]
    assert answers(prompts) == [answers([prompt])[0] for prompt in prompts]


def test_it_is_small_and_whole() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 15_000_000
    with safe_open(WEIGHTS / "model.safetensors", "np") as opened:
        assert len(list(opened.keys())) == 2 + 9 * Recipe.layers
    assert (WEIGHTS / "tokenizer.json").is_file()


def test_its_report_tells_how_it_was_made() -> None:
    told = json.loads((WEIGHTS / "training.json").read_text())
    assert told["recipe"] == vars(Recipe())
    assert told["log"][-1]["step"] == told["recipe"]["steps"]
    assert "opposites" in told["held out"]
    assert {(row["pair"], row["setting"]) for row in told["results"]} >= {("A+B", "composite"), ("G+H", "first")}
    for row in told["results"]:
        low, high = row["interval"]
        assert 0 <= low <= row["word match"] <= high <= 100


def test_its_fingerprint_needs_no_arguments_and_stays() -> None:
    assert tiny_icl.fingerprint() == tiny_icl.fingerprint(device="cpu")
    assert tiny_icl.fingerprint().startswith("files:")


@pytest.mark.parametrize("module", ["tiny_icl", "tiny_icl_recipe", "tiny_icl_prompts", "tiny_icl_parts"])
def test_importing_it_imports_no_torch(module: str) -> None:
    code = f"import sys; import adaptbench.models.reference.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
