"""A prefill that marks its stages does what it does without, and each part of the model runs in the stage it is of."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from adaptbench.harness.abilities import Staged
from adaptbench.harness.results import STAGES
from adaptbench.models.pruning.divprune import DivPrune
from adaptbench.models.pruning.fastv import FastV
from adaptbench.models.pruning.hired import Hired
from adaptbench.models.pruning.prumerge import PruMerge
from adaptbench.models.pruning.tome import ToMe
from adaptbench.models.reference.blind import Blind

if TYPE_CHECKING:
    from collections.abc import Callable

    from adaptbench.harness.contracts import Prompt

pytestmark = pytest.mark.usefixtures("one_thread")

OWN = {"tower": {"tower"}, "projector": {"tower"}, "block": {"prefill", "token"}}
"""Part of a model without a method -> the stages that it runs in."""


def ran(model: Any, prompts: list[Prompt]) -> tuple[dict[str, set[str]], list[str], Any]:
    """Part of the model -> stages in which it ran; the marks; what the run returned."""
    inner = model.module.model.model
    blocks = inner.language_model.layers
    parts = [(inner.vision_tower, "tower"), (inner.multi_modal_projector, "projector"), *((b, "block") for b in blocks)]
    found: dict[str, set[str]] = {}
    since, marks = set[str](), list[str]()

    def mark(stage: str) -> None:
        marks.append(stage)
        for part in since:
            found.setdefault(part, set()).add(stage)
        since.clear()

    run = model.stages(prompts)
    with ExitStack() as hooks:
        for module, part in parts:
            hooks.callback(module.register_forward_hook(lambda *_, part=part: since.add(part)).remove)
        logits = run(mark)
    assert not since
    return found, marks, logits


@pytest.mark.parametrize(
    ("method", "changed", "marked"),
    [
        (None, {}, {"tower", "prefill", "token"}),
        (DivPrune(keep=9), {"projector": {"method", "tower"}}, set(STAGES)),  # it compares projected patches
        (Hired(keep=9), {}, set(STAGES)),
        (PruMerge(), {}, set(STAGES)),
        (ToMe(keep=9), {"tower": set()}, {"tower", "prefill", "token"}),  # it runs the tower's blocks itself
        (FastV(k=1, keep=9), {}, set(STAGES)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_each_part_runs_in_its_stage(
    llava: Callable, ask: Callable, method: Any, changed: dict[str, set[str]], marked: set[str]
) -> None:
    model = llava() if method is None else method.apply(llava())
    assert isinstance(model, Staged)
    found, marks, _ = ran(model, [ask("how many", 1), ask("no", 2, 3), ask("Is there a dog ?")])
    assert found == {part: stages for part, stages in (OWN | changed).items() if stages}
    assert set(marks) == marked
    assert [marks.index("token"), marks[-2:]] == [len(marks) - 1, ["prefill", "token"]]


def test_without_images_no_tower_runs(llava: Callable, ask: Callable) -> None:
    found, marks, _ = ran(llava(), [ask("how many")])
    assert (found, marks) == ({"block": {"prefill", "token"}}, ["prefill", "token"])


@pytest.mark.parametrize(
    "method", [None, DivPrune(keep=9), FastV(k=1, keep=9), Blind()], ids=lambda m: type(m).__name__
)
def test_the_last_logits_are_those_of_the_second_token(llava: Callable, ask: Callable, method: Any) -> None:
    model = llava() if method is None else method.apply(llava())
    prompts = [ask("how many", 1), ask("Is there a dog ?", 2)]
    words = llava().loaded.processor.tokenizer
    second = [words.decode(one) for one in model.stages(prompts)(lambda _: None).argmax(dim=-1)]
    assert second == [answer.split()[1] for answer in model.generate(prompts)]
