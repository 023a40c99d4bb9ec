"""Batches that shrink when memory runs out."""

from __future__ import annotations

import gc
import logging
import sys
from typing import TYPE_CHECKING, TypeVar

from .errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class Batches:
    """Calls a model on batches of at most ``size`` items, and halves a batch for which memory runs out.

    What has once been too large is not tried again. How items are cut depends only on the items and on what fits, not
    on what was asked before: a resumed run cuts them as an uninterrupted one does.

    Args:
        size: Items in a batch if memory allows.
        name: What is called, for messages.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._name = name
        self._too_large = size + 1

    @property
    def fitting(self) -> int:
        """A size that fits: ``size`` until memory has run out, then less, but more than half of what fits."""
        fitting = self.size
        while fitting >= self._too_large:
            fitting -= fitting // 2
        return fitting

    def __call__(self, call: Callable[[Sequence[_Item]], _Answer], items: Sequence[_Item]) -> list[_Answer]:
        """Return ``call`` of each batch of ``items``, in order.

        Raises:
            UserError: Even a single item does not fit into memory.
        """
        answers: list[_Answer] = []
        pending = [items[start : start + self.size] for start in range(0, len(items), self.size)][::-1]
        while pending:
            batch = pending.pop()
            if len(batch) >= self._too_large:
                middle = len(batch) - len(batch) // 2
                pending += [batch[middle:], batch[:middle]]
                continue
            try:
                answers.append(call(batch))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise UserError(
                        "a single input does not fit into memory", where=self._name, todo="use a machine with more"
                    ) from error
                self._too_large = len(batch)
                pending.append(batch)
                logger.warning("%s: out of memory with %d inputs; going on with fewer", self._name, len(batch))
            else:
                continue
            give_back_memory()  # outside the handler, whose traceback keeps the tensors of the failed call alive
        return answers


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on an accelerator."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def give_back_memory() -> None:
    """Have memory that nothing refers to any more given back, also that of objects that refer to each other."""
    gc.collect()
    if has_accelerator():
        sys.modules["torch"].cuda.empty_cache()


def has_accelerator() -> bool:
    """Whether torch has been loaded and can use a GPU."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())
