"""A selector that asks is told the question, wherever a model sees: alone, in batches, shared, timed and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from unittest import mock

import pytest
import torch
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from adaptbench.models.pruning.choosing import KeptTokens
from adaptbench.models.pruning.random_tokens import RandomTokens
from adaptbench.models.reference.tiny_llava import tiny_llava
from adaptbench.models.reference.tiny_vlms import tiny_internvl, tiny_qwen_vl
from PIL import Image

if TYPE_CHECKING:
    from adaptbench.adapters.tower_signals import Signals
    from adaptbench.adapters.transformers_multimodal import HFMultimodal

pytestmark = pytest.mark.usefixtures("one_thread")
MAKERS = (tiny_llava, tiny_qwen_vl, tiny_internvl)
QUESTIONS = ("Is there a circle in the image?", "What color is the star? ü")


class ByLength(KeptTokens):
    """Keeps as many tokens as it is told, from a place on that is the length of the question."""

    asks: ClassVar[bool] = True
    keep: int = 9

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return places, int64 [images, keep]."""
        assert len(tower.questions) == len(tower.features)
        return torch.tensor([[len(text) + place for place in range(self.keep)] for text in tower.questions])


@pytest.fixture(scope="module", params=MAKERS, ids=lambda make: make.__name__)
def base(request: pytest.FixtureRequest) -> HFMultimodal:
    """One of each family."""
    return request.param()


def shown(corner: float) -> Image.Image:
    return Image.effect_mandelbrot((96, 96), (-2, -1.5, corner, 1.5), 30).convert("RGB")


def prompts(*digests: str) -> list[Prompt]:
    images = {"one": shown(1), "two": shown(0)}
    return [
        Prompt(text, (images[name],), (name,) if name in digests else (), max_new_tokens=2)
        for name in ("one", "two")
        for text in QUESTIONS
    ]


def test_answers_are_the_same_alone_in_a_batch_shared_and_swept(base: HFMultimodal) -> None:
    model = ByLength().apply(base)
    alone = [model.generate([prompt])[0] for prompt in prompts()]
    assert len(set(alone)) > 1
    assert model.generate(prompts()) == alone
    swept = ByLength().apply(base).for_sweep()
    for asked in (prompts("one", "two"), prompts("one", "two"), prompts("one")):
        assert swept.generate(asked) == alone
    assert [answer.cost.visual_tokens for answer in model.answer(prompts("one")) if answer.cost] == [9] * 4


def test_a_selector_chooses_once_for_each_question_only_where_it_asks(base: HFMultimodal) -> None:
    for kind, times in ((ByLength, 4), (RandomTokens, 2)):
        model = kind(keep=8).apply(base)
        with mock.patch.object(kind, "choose", autospec=True, side_effect=kind.choose) as choose:
            model.answer(prompts("one", "two"))
            model.answer(prompts("one", "two"))
        assert choose.call_count == times


def test_what_is_counted_and_timed_reads_the_same_tokens(base: HFMultimodal) -> None:
    model, asked = ByLength().apply(base), prompts()[1:4]  # questions of different lengths, on both images
    own = [features.features for prompt in asked for features in model.sight.of(prompt)]
    told = model.see({k: v for k, v in model.prepare(asked).items() if k not in ("input_ids", "attention_mask")})
    for one, other in zip(own, told, strict=True):
        assert torch.allclose(one, other.features, atol=1e-5)
    with torch.inference_mode():
        first = model.module(**model.prepare(asked)).argmax(dim=-1)
    words, read = model.loaded.processor.tokenizer, model.stages(asked)(lambda _: None).argmax(dim=-1)
    answers = model.generate(asked)
    for place, answer in enumerate(answers):
        assert answer.startswith(words.decode(first[place]).strip())
        assert answer == words.decode([first[place], read[place]], skip_special_tokens=True).strip()


def test_the_tokens_that_are_drawn_are_those_of_the_question(base: HFMultimodal) -> None:
    for prompt in prompts()[:2]:
        (first, *_) = ByLength().apply(base).kept(prompt).stages
        start = len(prompt.text)
        assert first.kept.flatten().nonzero()[0].tolist() == list(range(start, start + 9))


def test_where_questions_are_not_told_such_a_selector_is_refused(base: HFMultimodal) -> None:
    inputs = base.prepare(prompts()[:1])
    with pytest.raises(UserError, match="ByLength chooses by the question, which is not told here; leave it out"):
        ByLength().apply(base).see({k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")})
