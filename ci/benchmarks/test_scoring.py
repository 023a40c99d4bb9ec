"""Scoring alone, on embeddings that are there: 1,500 episodes through easyfsl and through ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from adaptbench.tasks.fewshot.centroid import predict


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize(("checked", "least"), [(False, 15), (True, 11)], ids=["step", "task"])
def test_scoring_1500_episodes(
    shots: int, checked: bool, least: float, task: Any, easyfsl: Any, side_by_side: Any, report: Any
) -> None:
    asked = task(f"glyphs-15way-{shots}shot")
    support, query = asked.manifest.support, asked.manifest.query
    ways, queries = query.shape[1:]
    rng = np.random.default_rng(0)
    centres = 0.5 * rng.standard_normal((len(asked.images.classes), 128), dtype=np.float32)
    features = centres[asked.images.labels] + rng.standard_normal((len(asked.inputs), 128), dtype=np.float32)
    tensors = torch.from_numpy(features)
    labels = [torch.arange(ways).repeat_interleave(each) for each in (shots, queries)]
    episodes = [
        (tensors[few.ravel()], labels[0], tensors[many.ravel()], labels[1], list(range(ways)))
        for few, many in zip(support, query, strict=True)
    ]
    classifier = easyfsl.SimpleShot()  # without a backbone: embeddings are its images

    def theirs() -> float:
        return easyfsl.evaluate(classifier, episodes, "cpu", use_tqdm=False)

    def step() -> list[float]:
        return (predict(features, support, query) == labels[1].numpy()).mean(axis=1).tolist()

    def whole() -> list[float]:
        outputs = zip(asked.samples, asked.outputs(asked.samples, features), strict=True)
        return [asked.score(sample, asked.parse(sample, output))["accuracy"] for sample, output in outputs]

    directions = np.zeros((len(query), 128, 16), dtype=np.float32)  # filling them costs nothing here

    def bare() -> None:
        for first in range(0, len(query), 8):
            rows = slice(first, first + 8)
            asked = np.take(features, query[rows].reshape(-1, ways * queries), axis=0, mode="clip")
            (asked @ directions[rows]).argmax(axis=2)

    times = side_by_side(whole if checked else step, theirs, rounds=15)
    assert 0.2 < times.their_result < 1
    assert np.mean(times.our_result) == pytest.approx(times.their_result, abs=1e-12)
    ratio = times.ratio()
    report(
        f"scoring 1,500 episodes, 15-way {shots}-shot, 128 dimensions{', as checked records' if checked else ''}",
        f"{min(times.ours):.3f} s",
        f"{min(times.theirs):.3f} s",
        f"{ratio:.1f} ({least} asked; gathering, products and argmax alone {min(times.theirs) / times.time(bare):.1f})",
    )
    assert ratio >= least
