"""The last block of a causal language model, and its head, for the tokens alone that something is asked of.

What attention looks back at - keys and values - is needed of every token that is read. All else that the last block
computes for a token is read by the head only. So its queries, its projections and its feed-forward can run for a few
tokens of each row, and say zero of the others: which of its modules can is found by having them do it.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch.nn import Module


class LastBlock(NamedTuple):
    """What need not run for all tokens.

    Attributes:
        head: Makes logits of what the block says.
        parts: Modules of the block that take a vector per token, and give one.
    """

    head: Module
    parts: tuple[Module, ...] = ()

    @contextmanager
    def only_for(self, places: torch.Tensor, width: int) -> Iterator[None]:
        """Have the next forward pass return logits of some tokens alone, [B, k, vocabulary].

        Args:
            places: Of the tokens, int64 [B, k].
            width: Tokens of each row.
        """
        rows = torch.arange(len(places), device=places.device)[:, None]

        def pick(_: Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden, *others = given
            if not _is_a_vector_a_token(hidden, len(places), width):
                raise ValueError("it takes no vector a token")
            return (hidden[rows, places], *others)

        def spread(_: Module, __: tuple[Any, ...], said: torch.Tensor) -> torch.Tensor:
            whole = said.new_zeros(len(places), width, said.shape[-1])
            whole[rows, places] = said
            return whole

        with ExitStack() as hooks:
            for module in (self.head, *self.parts):
                hooks.enter_context(module.register_forward_pre_hook(pick))
            for part in self.parts:
                hooks.enter_context(part.register_forward_hook(spread))
            yield


def find(model: Any, run: Callable[[], object], shape: Sequence[int], same: Callable[[LastBlock], bool]) -> LastBlock:
    """Find what need not run for all tokens.

    Args:
        model: The library's.
        run: Runs it once, on tokens of a shape.
        shape: [B, n].
        same: Whether it says and keeps the same of these with a part of its last block run for some of them alone.

    Raises:
        ValueError: Not even its head.
    """
    head = model.get_output_embeddings()
    found = LastBlock(head)
    if head is None or not same(found):
        raise ValueError("its head needs all tokens")
    within: set[Module] = set()
    for module in _run_by_token(_last_block(model), run, shape):
        if module not in within and same(LastBlock(head, (module,))):
            within.update(module.modules())
            found = LastBlock(head, (*found.parts, module))
    return found if same(found) else LastBlock(head)


def _last_block(model: Any) -> Module:
    """The last module of the list that holds most of the weights."""
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module)]
    largest = max(lists, key=lambda blocks: sum(weight.numel() for weight in blocks.parameters()))
    block: Module = largest[-1]
    return block


def _run_by_token(block: Module, run: Callable[[], object], shape: Sequence[int]) -> list[Module]:
    """Modules with matrices that are given a vector per token and return one, the outer ones first."""
    met: set[Module] = set()

    def meet(module: Module, given: tuple[Any, ...], said: Any) -> None:
        if given and all(_is_a_vector_a_token(states, *shape) for states in (given[0], said)):
            met.add(module)

    inner = [module for module in block.modules() if module is not block]
    with ExitStack() as hooks:
        for module in inner:
            hooks.enter_context(module.register_forward_hook(meet))
        run()
    return [module for module in inner if module in met and any(weight.ndim > 1 for weight in module.parameters())]


def _is_a_vector_a_token(states: Any, rows: int, width: int) -> bool:
    return isinstance(states, torch.Tensor) and states.ndim == 3 and states.shape[:2] == (rows, width)
