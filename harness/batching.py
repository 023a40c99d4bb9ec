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
    """Calls a model on batches of at most ``size`` items, and halves that size for good each time memory runs out.

    Args:
        size: Where to start.
        name: What is called, for messages.
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self._name = name

    def __call__(self, call: Callable[[Sequence[_Item]], _Answer], items: Sequence[_Item]) -> list[_Answer]:
        """Return ``call`` of each batch of ``items``, in order.

        Raises:
            UserError: Even a single item does not fit into memory.
        """
        answers: list[_Answer] = []
        start = 0
        while start < len(items):
            batch = items[start : start + self.size]
            try:
                answers.append(call(batch))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise UserError("a single input does not fit into memory", where=self._name) from error
                self.size = len(batch) // 2
                logger.warning("%s: out of memory with %d inputs; going on with %d", self._name, len(batch), self.size)
            else:
                start += len(batch)
                continue
            _free_memory()  # outside the handler, whose traceback keeps the tensors of the failed call alive
        return answers


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or on an accelerator."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
