"""What a step of multitask finetuning takes over a plain PyTorch loop of the same tensors."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TASKS, EPOCHS, MOST = 8, 2, 1.05


def test_a_step_over_a_plain_loop(build: Any, task: Any, side_by_side: Any, report: Any, tmp_path: Path) -> None:
    """15-way 1-shot tasks of 150 images; both update all weights by SGD, and end with the same ones."""
    import torch
    from adaptbench.models.finetuning.batches import Steps
    from adaptbench.models.finetuning.loop import Loop, fit
    from adaptbench.models.finetuning.multitask import Multitask
    from adaptbench.models.finetuning.sources import gather
    from torch.nn.functional import cross_entropy, normalize

    torch.set_num_threads(1)
    spec, model = f"glyphs(split=val,queries=9,episodes={TASKS})", build()
    tasks = gather({spec: task(spec)}, model, tmp_path / "images")
    steps = Steps(tasks, EPOCHS, 1, seed=0)
    batches = [steps[number]["inputs"] for number in range(len(steps))]
    right = torch.arange(15).repeat_interleave(9)
    folders = (tmp_path / str(number) for number in itertools.count())

    def plain() -> list[Any]:
        module, temperature = copy.deepcopy(model.module).train(), torch.tensor(10.0, requires_grad=True)
        optimizer = torch.optim.SGD([*module.parameters(), temperature], lr=1e-3, momentum=0.9)
        for inputs in batches:
            vectors = module(**inputs).view(15, 10, -1)
            centroids = normalize(vectors[:, 0], dim=-1)
            queries = normalize(vectors[:, 1:].flatten(0, 1), dim=-1)
            loss = cross_entropy(temperature * queries @ centroids.T, right)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [*module.parameters(), temperature]

    def ours() -> list[Any]:
        trainee = Multitask(copy.deepcopy(model.module), tasks.shape, 10.0)
        fit(trainee, steps, Loop(len(steps), 1e-3), next(folders))
        return [*trainee.encoder.parameters(), trainee.temperature]

    times = side_by_side(ours, plain, rounds=3)
    for one, other in zip(times.our_result, times.their_result, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    ratio = 1 / times.ratio()
    report(
        f"{len(steps)} steps of multitask finetuning over a plain loop of the same tensors",
        f"{min(times.ours):.2f} s", f"{min(times.theirs):.2f} s", f"{ratio:.3f} of theirs",
    )  # fmt: skip
    assert ratio < MOST
