"""Measured prefill of a transformers language model: the time to the first token, and that of each further one.

The weights are random: how long a pass takes does not depend on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.measure.timing import TooShort, measure

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from ..harness.results import Timing

    Build = Callable[[str, torch.dtype, int | None], tuple[Any, torch.nn.Module]]


def measure_prefill(
    build: Build,
    *,
    source: str,
    tokens: int,
    batch: int = 1,
    layers: int | None = None,
    device: str = "cpu",
) -> tuple[Timing, Timing]:
    """Measure the language model of an architecture in float32.

    Args:
        build: Builds body and head of a causal language model: ``build(device, dtype, layers)``.
        source: What the model is called in an error.
        tokens: Tokens of the prompt, visual ones included.
        batch: Prompts per batch.
        layers: Blocks that run; default all. Skipped blocks are not built.
        device: Where to run.

    Returns:
        Time to the first token - the prompt through all blocks, and the head at its last position - and time of the
        next token with the keys and values of the prompt kept.

    Raises:
        UserError: There is no causal language model, it does not fit into memory, or a pass is over before the clock
            can tell.
    """
    import torch

    from .installed import cache_name, cache_of

    model, head = build(device, torch.float32, layers)
    width = model.config.hidden_size
    prompt = torch.randn(batch, tokens, width, dtype=model.dtype, device=device)

    name = cache_name()

    def first() -> torch.Tensor:
        states = model(inputs_embeds=prompt, use_cache=True)
        logits: torch.Tensor = head(states.last_hidden_state[:, -1:])
        return logits

    def following() -> torch.Tensor:
        states = model(inputs_embeds=prompt[:, -1:], use_cache=True, **{name: cache})
        cache.crop(-1)  # the next repetition starts from the prompt again
        logits: torch.Tensor = head(states.last_hidden_state)
        return logits

    try:
        with torch.inference_mode():
            cache = cache_of(model(inputs_embeds=prompt, use_cache=True))
            return (
                measure(first, what=f"prefill of {tokens} tokens", inputs=batch, device=device),
                measure(following, what=f"token after {tokens}", inputs=batch, device=device),
            )
    except TooShort as error:
        raise UserError(str(error), where=source, todo="measure a longer prompt or a larger batch") from error
