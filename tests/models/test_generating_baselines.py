"""Models that answer without looking."""

import numpy as np
import pytest
from adaptbench import Prompt, UserError
from adaptbench.harness.abilities import Prefilling
from adaptbench.harness.contracts import Answer
from adaptbench.harness.prefill_cost import PrefillCost
from adaptbench.models.reference.blind import Blind
from adaptbench.models.reference.says import Says
from adaptbench.models.reference.tiny_llava_recipe import train_tiny_llava
from PIL import Image


class Looks:
    """Says how bright the images are and which digests it was given."""

    def generate(self, prompts):
        return [f"{prompt.text} {np.asarray(prompt.images[0]).mean():g} {prompt.digests[0]}" for prompt in prompts]


class Counts(Looks):
    convention = None
    module = None

    def answer(self, prompts):
        return [Answer(text, PrefillCost(flops=7)) for text in self.generate(prompts)]

    def prefill(self, prompts):
        return lambda: [prompt.digests for prompt in prompts]


def prompt(colour):
    return Prompt("which?", (Image.new("RGB", (4, 6), colour),), (colour,), max_new_tokens=5)


def test_a_constant_speaker_says_one_text():
    assert Says("yes").generate([prompt("red"), prompt("blue")]) == ["yes", "yes"]


def test_a_blind_model_is_shown_grey_and_told_so():
    assert Blind().apply(Looks()).generate([prompt("red"), prompt("blue")]) == ["which? 128 grey 4x6"] * 2
    assert not isinstance(Blind().apply(Looks()), Prefilling)


def test_a_blind_model_costs_what_the_other_does():
    model = Blind().apply(Counts())
    assert isinstance(model, Prefilling)
    assert model.answer([prompt("red")]) == [Answer("which? 128 grey 4x6", PrefillCost(flops=7))]
    assert model.prefill([prompt("red")])() == [("grey 4x6",)]


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no instruct\.json; name a folder in LLaVA's format"):
        train_tiny_llava(tmp_path / "out", data=str(tmp_path))
