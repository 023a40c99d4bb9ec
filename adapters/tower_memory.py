"""What a vision tower made of images, as far as it was read: it runs once for all methods that read the same."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping

    import torch


class TowerMemory:
    """Parts of passes, in the processor's memory; those that come first stay.

    A sweep goes through the same images once per method. Where they do not all fit, to forget what was used longest ago
    would be to forget what is asked for next.

    Args:
        limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.left = limit
        """Bytes that are free."""
        self._kept: dict[Hashable, tuple[torch.Tensor, torch.device]] = {}

    def of(self, image: str) -> Kept:
        """Return the parts of the pass over an image.

        Args:
            image: Digest of its content.
        """
        return Kept(self, image)

    def find(self, key: Hashable) -> torch.Tensor | None:
        """Return a copy of a part where it was made, or ``None`` if it is not kept."""
        if key not in self._kept:
            return None
        part, device = self._kept[key]
        return part.to(device, copy=True)

    def keep(self, key: Hashable, part: torch.Tensor) -> None:
        """Keep a part if there is room for it."""
        size = part.numel() * part.element_size()
        if key not in self._kept and size <= self.left:
            self.left -= size
            self._kept[key] = part.to("cpu", copy=True), part.device


class Kept(NamedTuple):
    """The parts of the pass over one image."""

    memory: TowerMemory
    image: str

    def find(self, name: Hashable) -> torch.Tensor | None:
        """As `TowerMemory.find`."""
        return self.memory.find((self.image, name))

    def keep(self, name: Hashable, part: torch.Tensor) -> None:
        """As `TowerMemory.keep`."""
        self.memory.keep((self.image, name), part)


class Pass:
    """A pass of a tower, by parts; made at once, or if something is kept, when a part is read that is not.

    Args:
        run: Makes the pass and returns its parts by their names.
        kept: Where parts that are read are looked up and kept.
        usual: Names of parts that are kept of every pass, as the next method may read them.
    """

    def __init__(
        self,
        run: Callable[[], Mapping[Hashable, torch.Tensor]],
        kept: Kept | None = None,
        usual: Collection[Hashable] = (),
    ) -> None:
        self._run, self._kept, self._usual = run, kept, usual
        if kept is None:
            _ = self._made

    def __getitem__(self, name: Hashable) -> torch.Tensor:
        """Return a part."""
        if self._kept is None:
            return self._made[name]
        found = self._kept.find(name)
        if found is None:
            found = self._made[name]
            for one in (name, *self._usual):
                self._kept.keep(one, self._made[one])
        return found

    @cached_property
    def _made(self) -> Mapping[Hashable, torch.Tensor]:
        return self._run()
