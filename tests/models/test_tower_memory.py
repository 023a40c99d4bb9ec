"""The tower runs once per image for all methods that read the same of it, and each answers as it does alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import adaptbench
import pytest
import torch
from adaptbench import hookimpl
from adaptbench.adapters.tower_memory import Pass, TowerMemory
from adaptbench.adapters.transformers_multimodal import HFMultimodal
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.identity import BoundModel
from adaptbench.harness.planned_models import plan_model
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.specs import parse
from adaptbench.models.pruning.divprune import DivPrune
from adaptbench.models.pruning.random_tokens import RandomTokens
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adaptbench.adapters.tower_signals import Signals
    from adaptbench.harness.hooks import CellFinished

pytestmark = pytest.mark.usefixtures("one_thread")
REGISTRY = load_plugins().registry
FEW = ("", "+random-tokens(keep=16)", "+divprune(keep=16)", "+fastv(k=1,keep=11)")
METHODS = {
    "tiny-llava": (
        *FEW, "+vispruner(keep=16)", "+visionzip(dominant=13,contextual=3)", "+hired(keep=16)", "+grid-tokens(grid=4)",
        "+sparsevlm(layers=1/3/6,counts=18/9/5)", "+vtw(k=3)",
        "+trim(keep=15)",
    ),
    "tiny-qwen-vl": FEW,
    "tiny-internvl": FEW,
}  # fmt: skip


def made(spec: str, base: Any = None) -> Any:
    """A model of its own, or one that is made of a base."""
    model = plan_model(REGISTRY, parse(spec))
    bound = BoundModel(model, model.bind(seed=0, device="cpu"))
    return bound.on(bound.common(bound.base() if base is None else base))


def prompts(known: bool = True) -> list[Prompt]:
    """Two questions on one image, and one on another."""
    asked = []
    for corner, text in ((1, "Is there a circle in the image?"), (1, "What color is the star?"), (0, "How many?")):
        image = Image.effect_mandelbrot((96, 96), (-2, -1.5, corner, 1.5), 30).convert("RGB")
        asked.append(Prompt(text, (image,), (f"image {corner}",) if known else (), 1))
    return asked


@contextmanager
def passes(model: HFMultimodal) -> Iterator[list[int]]:
    """Count the passes of the tower."""
    seen: list[int] = []
    hook = model.family.tower.register_forward_hook(lambda *_: seen.append(1))
    yield seen
    hook.remove()


@pytest.mark.parametrize("name", METHODS)
def test_the_tower_runs_once_per_image_and_answers_are_those_of_models_that_share_nothing(name: str) -> None:
    base = made(name)
    base.answer(prompts(known=False))  # its FLOPs are counted now
    with passes(base) as seen:
        together = [made(name + method, base).answer(prompts()) for method in METHODS[name]]
    assert len(seen) == 2
    fresh = made(name)
    alone = [made(name + method, fresh).answer(prompts(known=False)) for method in METHODS[name]]
    assert together == alone


def test_a_block_that_was_not_read_before_takes_one_more_pass() -> None:
    base = made("tiny-llava")
    base.answer(prompts())
    with passes(base) as seen:
        first = made("tiny-llava+hired(keep=16,layer=1)", base).answer(prompts())
        made("tiny-llava+vispruner(keep=16,layer=1)", base).answer(prompts())
    assert len(seen) == 2
    assert first == made("tiny-llava+hired(keep=16,layer=1)").answer(prompts(known=False))


def test_methods_that_act_in_the_tower_or_bring_weights_do_not_reach_the_next_one() -> None:
    base = made("tiny-llava")
    before = base.answer(prompts())
    for method in ("+tome(keep=16)", "+adallava-l(scheduler=random)@0.7", "+adallava-l@0.7"):
        spec = f"tiny-llava{method}"
        assert made(spec, base).answer(prompts()) == made(spec).answer(prompts(known=False))
    assert DivPrune(keep=64).apply(base).answer(prompts())[0].text == before[0].text
    assert base.answer(prompts()) == before


def test_what_is_timed_and_counted_shares_nothing() -> None:
    base = made("tiny-llava")
    model = DivPrune(keep=16).apply(base)
    model.answer(prompts())
    with passes(base) as seen:
        for run in (model.prefill(prompts()), lambda: model.stages(prompts())(lambda _: None)):
            run()
            run()
        model.answer(prompts(known=False))
    assert len(seen) == 4 + 2 * 3, "an image whose digest is not told is seen for its prompt, and for its cost"


class Spoiling(RandomTokens):
    """Changes what it is given."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return some places."""
        places = super().choose(tower)
        tower.features.mul_(2)
        tower.keys(-1).zero_()
        return places


@pytest.mark.parametrize("name", METHODS)
def test_a_selector_that_changes_what_it_is_given_does_not_change_what_is_kept(name: str) -> None:
    base = made(name)
    before = DivPrune(keep=16).apply(base).answer(prompts())
    Spoiling(keep=16).apply(base).answer(prompts())
    with passes(base) as seen:
        assert DivPrune(keep=16).apply(base).answer(prompts()) == before
        RandomTokens(keep=8).apply(base).answer(prompts())
    assert not seen


def test_what_comes_first_stays_and_bytes_are_bounded() -> None:
    memory, runs = TowerMemory(limit=4 * 10), list[str]()

    def read(image: str, name: int) -> float:
        parts = {place: torch.full((5,), float(place)) for place in range(3)}
        return float(Pass(lambda: runs.append(image) or parts, memory.of(image), usual=(0,))[name][0])

    for _ in range(3):
        assert [read(image, 0) for image in "abc"] == [0, 0, 0]
    assert runs == ["a", "b", "c", "c", "c"], "there is room for two"
    assert memory.left == 0
    assert read("a", 1) == 1
    assert runs[5:] == ["a"]
    assert TowerMemory(limit=0).of("a").find(0) is None


def test_a_run_loads_once_and_passes_each_image_once(tmp_path: Path) -> None:
    specs, seen, passed = ["tiny-llava", "tiny-llava+divprune(keep=16)", "tiny-llava+fastv(k=1,keep=11)"], [0], [0]

    class Plugin:
        @hookimpl
        def cell_finished(self, event: CellFinished) -> None:
            passed.append(seen[0])

    def load(*args: Any, **options: Any) -> None:
        real(*args, **options)
        args[0].family.tower.register_forward_hook(lambda *_: seen.__setitem__(0, seen[0] + 1))

    real = HFMultimodal.__init__
    with mock.patch.object(HFMultimodal, "__init__", autospec=True, side_effect=load) as loads:
        adaptbench.run(specs, "shapes-open(scenes=2)", out=tmp_path, limit=8, timing=False, plugins=[Plugin()])
    assert loads.call_count == 1
    assert passed[1] >= 1
    assert passed[1:] == [passed[1]] * 3
