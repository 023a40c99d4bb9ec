"""What prefills cost: each prompt's own pass, counted once for all of its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.errors import UserError
from ..harness.faults import blamed_on
from ..harness.measure.flops import count_again, count_flops, not_counted

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    import torch


class PrefillFlops:
    """Counts passes by both counters until they agree to the digit, then passes of the same kind by torch's alone.

    Passes are of one kind that have the same inputs and equally many images: other sizes of these are the same
    operators on more or fewer numbers.

    Args:
        module: What runs; its forward pass has been run before, since a model may change itself when it runs first.
        waive: Names of operators that may stay uncounted.

    Attributes:
        refused: Why passes cannot be counted; empty if they can. Once one is refused, none is counted any more.
    """

    def __init__(self, module: torch.nn.Module, waive: Sequence[str] = ()) -> None:
        self._module, self._waive = module, waive
        self._agreed: set[Hashable] = set()
        self._counts: dict[Hashable, int] = {}
        self.refused = ""

    def of(self, size: Hashable, images: int, prepare: Callable[[], Mapping[str, torch.Tensor]]) -> int | None:
        """Return the FLOPs of a pass, or ``None`` if it cannot be counted.

        Args:
            size: What the shapes of its inputs depend on.
            images: That it reads.
            prepare: Makes its inputs; called only for a size that was not counted before.
        """
        if size not in self._counts and not self.refused:
            inputs = prepare()
            shapes = _shapes(inputs)
            if shapes not in self._counts:
                self._counts[shapes] = self._count((frozenset(inputs), images), inputs)
            self._counts[size] = self._counts[shapes]
        return None if self.refused else self._counts[size]

    def _count(self, kind: Hashable, inputs: Mapping[str, torch.Tensor]) -> int:
        try:
            with blamed_on("the count", "prefill"):
                if kind in self._agreed:
                    return count_again(self._module, inputs)
                counted = count_flops(self._module, inputs, phase="prefill", waive=self._waive).value
                if counted == count_again(self._module, inputs):
                    self._agreed.add(kind)
                return counted
        except UserError as error:  # a model that cannot be counted still answers
            self.refused = not_counted(error)
            return 0


def _shapes(inputs: Mapping[str, torch.Tensor]) -> Hashable:
    """What the work of a pass depends on: the shape of each input, and whole numbers that tell of the images' sizes."""

    def told(value: torch.Tensor) -> bytes:
        of_images = not value.is_floating_point() and value.shape != inputs["input_ids"].shape
        return value.cpu().numpy().tobytes() if of_images else b""

    return tuple((name, value.shape, told(value)) for name, value in inputs.items())
