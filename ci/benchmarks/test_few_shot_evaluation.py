"""1,500 episodes over a test split: easyfsl encodes every image of every episode, AdaptBench every image once."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import adaptbench
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adaptbench.tasks.fewshot.task import FewShot

EPISODES = 15
"""Episodes that easyfsl is timed on; its time grows with their number, so 1,500 take a hundred times as long."""


class Images(Dataset):
    """A task's images as easyfsl's own data sets give them: opened and transformed one by one, when asked for."""

    def __init__(self, task: FewShot, transform: Callable[[Any], torch.Tensor]) -> None:
        self.inputs, self.transform = task.inputs, transform

    def __getitem__(self, position: int) -> torch.Tensor:
        return self.transform(self.inputs[position].load())


class Tensors(Images):
    """The same, transformed beforehand."""

    def __init__(self, task: FewShot, transform: Callable[[Any], torch.Tensor]) -> None:
        self.images = [transform(item.load()) for item in task.inputs]

    def __getitem__(self, position: int) -> torch.Tensor:
        return self.images[position]


def loaders(task: FewShot, images: Images) -> Iterator[DataLoader]:
    """A loader for each of the first episodes; it gives what easyfsl's `TaskSampler` makes of an episode."""
    ways, shots, queries = task.protocol.ways, task.protocol.shots, task.protocol.queries
    labels = [torch.arange(ways).repeat_interleave(each) for each in (shots, queries)]

    def collate(tensors: list[torch.Tensor]) -> tuple[Any, ...]:
        stacked = torch.stack(tensors)
        return stacked[: ways * shots], labels[0], stacked[ways * shots :], labels[1], list(range(ways))

    for support, query in itertools.islice(zip(task.manifest.support, task.manifest.query, strict=True), EPISODES):
        yield DataLoader(images, batch_sampler=[[*support.ravel(), *query.ravel()]], collate_fn=collate)


def accuracies(run: Path) -> list[float]:
    lines = next(run.glob("cells/*/records.jsonl")).read_text().splitlines()
    return [json.loads(line)["scores"]["accuracy"] for line in lines]


@pytest.mark.parametrize(
    ("shots", "kind", "measuring", "least"),
    [(5, Images, False, 50), (5, Images, True, 0), (5, Tensors, False, 0), (1, Images, False, 0)],
)
def test_a_cell_of_1500_episodes(
    shots: int, kind: type[Images], measuring: bool, least: float, encoder: str, build: Any, task: Any, easyfsl: Any,
    without_costs: Any, side_by_side: Any, report: Any, tmp_path: Path,
) -> None:  # fmt: skip
    if not measuring:
        without_costs()
    asked, model = task(f"glyphs-15way-{shots}shot"), build()
    images = kind(asked, lambda image: model.prepare([image])["pixel_values"][0])
    classifier = easyfsl.SimpleShot(model.module)  # its prototypical classification with the cosine, which is our rule
    folders = (tmp_path / str(number) for number in itertools.count())

    def theirs() -> list[float]:
        return [easyfsl.evaluate(classifier, loader, "cpu", use_tqdm=False) for loader in loaders(asked, images)]

    def ours() -> Path:
        return adaptbench.run(encoder, asked, out=next(folders)).path

    times = side_by_side(ours, theirs, rounds=2)
    found = accuracies(times.our_result)
    assert len(found) == 1500
    assert found[:EPISODES] == times.their_result
    ratio = times.ratio(scale=1500 / EPISODES)
    costs = "with" if measuring else "without"
    report(
        f"1,500 episodes, 15-way {shots}-shot, {costs} costs; easyfsl is given {kind.__name__.lower()}",
        f"{min(times.ours):.1f} s",
        f"{1500 / EPISODES * min(times.theirs):.0f} s, from {EPISODES} episodes",
        f"{ratio:.1f}",
    )
    assert ratio >= least
