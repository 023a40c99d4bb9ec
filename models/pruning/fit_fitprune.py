"""``adaptbench train fitprune``: how many visual tokens each block can lose, from the attention of a few prompts."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, NamedTuple

from ...harness.errors import UserError
from ...harness.execution import Execution, LayerWork
from ...harness.store.files import write_atomic
from .calibration import calibration, load_base
from .fitprune import scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from ...adapters.decoder import State
    from ...adapters.transformers_multimodal import HFMultimodal
    from ...harness.contracts import Prompt

_CLOSE, _HALF = 0.01, 0.5


class Paid(NamedTuple):
    """The attention that the N visual tokens of a prompt are paid in each block, float32 [blocks, N].

    Attributes:
        images: By visual tokens.
        text: By the text.
    """

    images: torch.Tensor
    text: torch.Tensor


def fit_fitprune(  # noqa: PLR0913, PLR0917 - one parameter is one option
    out: Path,
    base: str,
    r: float | None = None,
    average: float | None = None,
    samples: int = 100,
    data: str = "",
    images: str = "",
    seed: int = 0,
) -> None:
    """Fit a schedule; ``out/schedule.json`` is what ``fitprune(schedule=...)`` takes.

    Args:
        out: Folder.
        base: Spec of a model whose decoder can be steered, with no method in it.
        r: The share of the language model's FLOPs that is to be saved, of a prompt as long as those on average;
            half, unless it or average is given.
        average: The share of the visual tokens that blocks are to be given on average, instead of r.
        samples: Prompts.
        data: A JSON file of conversations in LLaVA's format; without it, scenes of ``shapes`` are drawn.
        images: Folder that the paths of the images start from; default the one of the JSON file.
        seed: Of the prompts that are drawn.

    Raises:
        UserError: The base cannot be steered, the data cannot be read, or no schedule saves that much.
    """
    if r is not None and average is not None:
        raise UserError("r and average say the same", where="recipe fitprune", todo="give one of the two")
    import torch

    from ...adapters.multimodal_costs import language_flops

    r = _HALF if r is None else r
    asked = {"r": r} if average is None else {"average": average}
    for name, share in asked.items():
        if not (isinstance(share, int | float) and 0 < share < 1):
            what = f"{name}={share} is not a share"
            raise UserError(what, where="recipe fitprune", todo="give a number above 0 and below 1")
    model = load_base(base)
    prompts = calibration(data, images, out, samples, seed)
    with torch.inference_mode():
        paid = [read(model, prompt) for prompt in prompts]
    text = round(sum(model.token_counts(prompt)[0] for prompt in prompts) / len(prompts))
    stack = model.architecture.language.stack  # type: ignore[union-attr]

    def flops(left: Sequence[int]) -> int:
        layers = tuple(LayerWork(place, text + count, stack.heads) for place, count in enumerate(left))
        return language_flops(model.architecture, Execution(layers))

    spent, saved = (flops, r) if average is None else (sum, 1 - average)
    alpha, left = fit(functools.partial(schedule, paid), spent, saved)
    held = {**asked, "alpha": alpha, "visual_tokens": left[0], "left": left, "base": base, "samples": samples}
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "schedule.json", (json.dumps(held, indent=2) + "\n").encode())


class _Reader:
    """A method that changes nothing and reads what visual tokens are paid in every block."""

    first = 0

    def __init__(self) -> None:
        self.paid: list[tuple[torch.Tensor, torch.Tensor]] = []

    def after_prompt(self, batch: int) -> None:
        """Add no tokens."""

    def before(self, index: int, state: State) -> State:
        """Read the block that ran last, of the only row."""
        import torch

        if index == 0:
            return state
        every = torch.arange(state.tokens.count, device=state.tokens.real.device)[None]
        most = functools.reduce(torch.maximum, state.attention.by_head(every))
        visual = state.tokens.visual
        images, text = scores_of(most, visual, ~visual)
        self.paid.append((images[visual], text[visual]))
        return state


def read(model: HFMultimodal, prompt: Prompt) -> Paid:
    """Return what a prompt's visual tokens are paid in each block."""
    import torch

    reader = _Reader()
    model.with_method(reader).prefill([prompt])()
    return Paid(*(torch.stack(every) for every in zip(*reader.paid, strict=True)))


def fit(
    schedule_of: Callable[[float], list[int]], spent: Callable[[Sequence[int]], int], saved: float
) -> tuple[float, list[int]]:
    """Return the smallest share of attention, to 0.01, that may be lost for a share of FLOPs or tokens to be saved.

    Args:
        schedule_of: What that share leaves of the visual tokens, block by block.
        spent: FLOPs or tokens of what is left.
        saved: The share of them.

    Raises:
        UserError: It cannot be saved.
    """
    most = (1 - saved) * spent([schedule_of(0.0)[0]] * len(schedule_of(0.0)))
    low, high = 0.0, 1.0
    if spent(schedule_of(high)) > most:
        what = f"no schedule saves {saved:g}: the first block, and of FLOPs the text, take more"
        raise UserError(what, where="recipe fitprune", todo="give a smaller r, or a larger average")
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(schedule_of(middle)) <= most else (middle, high)
    return high, schedule_of(high)


def schedule(paid: Sequence[Paid], alpha: float) -> list[int]:
    """Return the visual tokens that each block is given, a mean over prompts.

    Each block loses the tokens that are both among the least attended to by the image and among the least attended to
    by the text; of either kind as many as together are paid less than ``alpha`` of what is paid to all that are left.

    Args:
        paid: Of each prompt; where images have more or fewer tokens, counts are those of an average one.
        alpha: From 0 to 1.
    """
    counts = [_left(own, alpha) for own in paid]
    return [round(sum(block) / len(counts)) for block in zip(*counts, strict=True)]


def _left(paid: Paid, alpha: float) -> list[int]:
    import torch

    alive = torch.arange(paid.images.shape[1], device=paid.images.device)
    counts = [len(alive)]
    for images, text in zip(paid.images[:-1], paid.text[:-1], strict=True):
        lost = _least(images[alive], alpha) & _least(text[alive], alpha)
        alive = alive[~lost]
        counts.append(len(alive))
    return counts


def _least(paid: torch.Tensor, alpha: float) -> torch.Tensor:
    """Which of the tokens that are paid least together get less than a share of it all, bool [n]."""
    import torch

    order = paid.argsort(stable=True)
    together = paid[order].double().cumsum(dim=0)
    few = together < alpha * together[-1]  # never all of them, whatever the last digits are
    return torch.zeros_like(few).scatter(0, order, few)
