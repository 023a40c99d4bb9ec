"""A memory for what is costly to compute again, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class ByteLru:
    """Keeps what was used last, as much as fits into a number of bytes.

    Args:
        limit: Bytes. What alone is larger is handed out and not kept; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        """Bytes that are kept."""
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Return what is kept under a key; if nothing is, ``make`` it and keep it.

        Args:
            key: What it depends on.
            make: Computes it.
            size: Tells its bytes.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        value = make()
        needed = size(value)
        if needed <= self.limit:
            self._kept[key] = (value, needed)
            self.bytes += needed
            while self.bytes > self.limit:
                _, (_, freed) = self._kept.popitem(last=False)
                self.bytes -= freed
        return value
