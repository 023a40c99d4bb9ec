"""DivPrune's picks among 576 patches: with a running minimum, and gathering all picks for each one, as released."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from adaptbench.models.pruning.divprune import spread
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = 20


def test_divprune_picks_192_of_576(side_by_side: Any, report: Any) -> None:
    unit = normalize(torch.randn(576, 4096, generator=torch.Generator().manual_seed(0)), dim=-1)
    distances = 1 - unit @ unit.T

    def gathering() -> list[int]:
        """The rule with its O(K^2 N) comparisons; features do not repeat here, so that it picks no patch twice."""
        picked = torch.empty(192, dtype=torch.int64)
        for place in range(192):
            if place:
                apart = distances[picked[:place]].amin(dim=0)
            else:
                apart = distances.topk(2, dim=0, largest=False).values[1]
            picked[place] = apart.argmax()
        return picked.tolist()

    def images(pick: Callable[[], list[int]]) -> Callable[[], list[int]]:
        """Picks for several images, so that a turn is longer than what comes of a cold cache."""
        return lambda: [pick() for _ in range(IMAGES)][-1]

    times = side_by_side(images(lambda: spread(distances, 192).tolist()), images(gathering), rounds=15)
    assert times.our_result == times.their_result
    ratio = times.ratio()
    ours, theirs = (f"{min(seconds) / IMAGES:.5f} s" for seconds in (times.ours, times.theirs))
    report("DivPrune's picks for an image, 192 of 576", ours, theirs, f"{ratio:.1f}")
    assert ratio >= 20
