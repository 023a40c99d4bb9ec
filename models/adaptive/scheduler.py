"""AdaLLaVA's scheduler: a latency encoder, and a linear head that scores switches (dissertation, 5.2.3 and C.1).

Its parameters have the names of the public AdaLLaVA checkpoints, so that those load: ``scheduler_up_proj.net.{0,1,3}``
and ``mlp_head``. On disk: safetensors and a JSON config.

Shapes: B prompts, d hidden size, S blocks that are switched, H heads. Logits, gates and choices are [B, S] for
AdaLLaVA-L and [B, S, 2, H] for AdaLLaVA-H, where axis 2 holds attention heads and groups of MLP channels.
"""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ...adapters.loading import checkpoint
from ...harness.errors import UserError
from .switches import CODE, CONFIG, FILES, read_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .switches import SchedulerConfig, Switches

_WEIGHTS, _PREFIX = "scheduler.safetensors", "scheduler."
_TAU = 5.0
_CYCLES = 64.0
"""Prompts whose encodings differ by more than one part in this number get different noise."""


class Scheduler(nn.Module):
    """Latency encoder and scheduler head, freshly initialised (weights N(0, 0.02), biases 0).

    Args:
        config: What it is for.
        seed: Of the initial weights.
    """

    def __init__(self, config: SchedulerConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        width, outputs = config.hidden, math.prod(config.logits)
        first, second = nn.Linear(CODE, width), nn.Linear(width, width)
        self.scheduler_up_proj = nn.ModuleDict({"net": nn.Sequential(nn.LayerNorm(CODE), first, nn.GELU(), second)})
        self.mlp_head = nn.Linear(width, outputs)
        chance = torch.Generator().manual_seed(seed)
        for linear in (first, second, self.mlp_head):
            nn.init.normal_(linear.weight, std=0.02, generator=chance)
            nn.init.zeros_(linear.bias)

    def token(self, k: Sequence[int]) -> torch.Tensor:
        """Return the latency tokens [B, d] of budgets that turn on ``k`` units each."""
        weight = self.mlp_head.weight
        codes = torch.tensor([self.config.code(units) for units in k], dtype=torch.float64, device=weight.device)
        steps = torch.arange(CODE // 2, dtype=torch.float64, device=weight.device)
        angles = 2 * math.pi * codes[:, None] * 10000.0 ** (-2 * steps / CODE)
        token: torch.Tensor = self.scheduler_up_proj["net"](torch.cat([angles.sin(), angles.cos()], 1).to(weight.dtype))
        return token

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Score the switches, finite float32.

        Args:
            hidden: [B, d], what enters the first block that is switched, at the latency token.
        """
        scores: torch.Tensor = self.mlp_head(hidden.to(self.mlp_head.weight.dtype))
        return scores.float().nan_to_num().view(-1, *self.config.logits)

    def choose(self, logits: torch.Tensor, k: Sequence[int]) -> torch.Tensor:
        """Return which switches are on at inference, bool; by the sign of the logits, or the best ``k`` units."""
        if self.config.rule == "deterministic":
            return logits > 0
        return best(logits, k, self.config)

    def sample(
        self,
        logits: torch.Tensor,
        k: Sequence[int],
        *,
        tau: float = _TAU,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Draw gates for training: exactly 0 or 1 forward, with straight-through gradients to the logits.

        Args:
            logits: From `logits`.
            k: Units that are on in each prompt.
            tau: Temperature of the softmax that gives the gradient; what is drawn does not depend on it.
            generator: Of the noise; default torch's own.
        """
        if self.config.rule == "deterministic":
            soft = logits.sigmoid()
            return _straight_through((logits > 0).to(soft.dtype), soft)
        if self.config.rule == "random":
            logits = torch.zeros_like(logits)
        draw = _Draw(self.config.rule != "deterministic-topk", tau, generator)
        counts = torch.tensor(list(k), device=logits.device)
        return _sample_blocks(logits, counts, draw) if logits.ndim == 2 else self._sample_heads(logits, counts, draw)

    def _sample_heads(self, logits: torch.Tensor, k: torch.Tensor, draw: _Draw) -> torch.Tensor:
        """Turn on unit by unit: draw a block by its entries that are inactive, then r heads and r groups of it."""
        gates, rows = torch.zeros_like(logits), torch.arange(len(logits), device=logits.device)
        for unit in range(int(k.max())):
            inactive = gates.detach() < 0.5
            block = draw.scores(logits.flatten(1), inactive.flatten(1)).argmax(dim=1) // logits[0, 0].numel()
            drawn = draw.hot(logits[rows, block], inactive[rows, block], self.config.rank)
            drawn = drawn * (unit < k)[:, None, None]
            gates = gates.index_put((rows, block), drawn, accumulate=True)
        return gates


def save(scheduler: Scheduler, folder: str | Path) -> None:
    """Write a scheduler's config and weights into a folder, which is made."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(scheduler.config.model_dump_json(indent=2) + "\n")
    tensors = {f"{_PREFIX}{name}": part.detach().cpu().contiguous() for name, part in scheduler.state_dict().items()}
    save_file(tensors, folder / _WEIGHTS)


def load(path: str) -> Scheduler:
    """Read a scheduler, in evaluation mode and float32.

    Args:
        path: Folder that `save` wrote, or folder or hub id of a public AdaLLaVA checkpoint with safetensors.

    Raises:
        UserError: There is none, or its config and its weights do not belong together.
    """
    scheduler = Scheduler(read_config(path))
    folder, where = checkpoint(path, None, FILES), f"checkpoint {path}"
    tensors = _tensors(folder, where)
    expected = {name: tuple(part.shape) for name, part in scheduler.state_dict().items()}
    found = {name: tuple(part.shape) for name, part in tensors.items()}
    for name, shape in expected.items():
        if found.get(name) != shape:
            raise UserError(
                f"its {_PREFIX}{name} is {found.get(name, 'missing')}, and its config asks for {shape}",
                where=where,
                todo="give the config and the weights of one scheduler",
            )
    scheduler.load_state_dict({name: tensors[name].float() for name in expected})
    return scheduler.eval()


def finetuned(path: str) -> dict[str, torch.Tensor]:
    """Read the weights of the language model that were trained with a scheduler: ``model.safetensors`` beside it.

    Returns:
        Tensors by the names of the loaded model's parameters; none if there is no such file, or if the folder is that
        of a public checkpoint, which `public.decoder` reads.

    Raises:
        UserError: The file cannot be read.
    """
    folder = checkpoint(path, None, FILES)
    file = folder / "model.safetensors"
    if not ((folder / CONFIG).is_file() and file.is_file()):
        return {}
    with opened(file, f"checkpoint {path}") as archive:
        return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - it is not a mapping


def shards(folder: Path, where: str) -> list[Path]:
    """Return a checkpoint's files of weights: those that its index names, or without one all there are.

    Raises:
        UserError: There are none, or one that is named is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / CONFIG).is_file():
        try:
            named = sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"cannot read {index.name}: {error}", where=where, todo="save it again") from error
        for missing in (name for name in named if not (folder / name).is_file()):
            raise UserError(
                f"{index.name} names {missing}, which is not there", where=where, todo="get the whole of it"
            )
        return [folder / name for name in named]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        what = "it has no *.safetensors, and weights in other formats, such as *.bin, are not read"
        raise UserError(what, where=where, todo="save its weights as safetensors")
    return files


@contextmanager
def opened(file: Path, where: str) -> Iterator[Any]:
    """Open a file of weights, to be read tensor by tensor.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with safe_open(file, framework="pt") as archive:
            yield archive
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {file.name}: {error}", where=where, todo="save it again") from error


def own_name(name: str) -> str | None:
    """Return the scheduler's own name of a tensor, without any prefix; none if it is not the scheduler's."""
    _, mark, own = f".{name}".rpartition(f".{_PREFIX}")
    return own if mark else None


def _tensors(folder: Path, where: str) -> dict[str, torch.Tensor]:
    """The scheduler's tensors, and no others."""
    tensors: dict[str, torch.Tensor] = {}
    for file in shards(folder, where):
        with opened(file, where) as archive:
            for name in archive.keys():  # noqa: SIM118 - it is not a mapping
                if own := own_name(name):
                    tensors[own] = archive.get_tensor(name)
    if not tensors:
        raise UserError(f"no *.safetensors of it holds a {_PREFIX[:-1]}", where=where, todo="name one that does")
    return tensors


def best(logits: torch.Tensor, k: Sequence[int], switches: Switches) -> torch.Tensor:
    """Return the most probable switches, bool: exactly ``k`` units of each prompt are on.

    AdaLLaVA-H activates, ``k`` times, the best ``rank`` heads and the best ``rank`` groups that are still inactive, in
    the block with the best inactive entry; the first of equal ones.

    Args:
        logits: [B, S] or [B, S, 2, H], finite.
        k: Units that are on in each prompt.
        switches: Says the rank.
    """
    counts = torch.tensor(list(k), device=logits.device)
    if logits.ndim == 2:
        return _places(logits) < counts[:, None]
    # A block turns on its entries in order of their score, rank by rank, so its n-th unit is as good as its best entry
    # after (n - 1) rank of them: the greedy choice is the best k of these.
    ordered = logits.sort(dim=-1, descending=True, stable=True).values
    units = ordered[..., :: switches.rank].amax(dim=2)
    active = (_places(units.flatten(1)) < counts[:, None]).view_as(units).sum(dim=-1)
    return _places(logits) < switches.rank * active[..., None, None]


def latency_penalty(
    gates: torch.Tensor, budgets: torch.Tensor, switches: Switches, weight: float = 1.0
) -> torch.Tensor:
    """Return ``weight`` times the share of units beyond the budget, the mean over the prompts (section 5.2.3).

    Args:
        gates: From `Scheduler.sample`.
        budgets: [B].
        switches: What is switched.
        weight: Lambda.
    """
    entries = 1 if switches.switch == "layers" else 2 * switches.rank
    used = (switches.always + gates.flatten(1).sum(dim=1) / entries) / switches.total
    return weight * (used - budgets).clamp(min=0).mean()


class ContentNoise:
    """Gumbel noise that is drawn from what a prompt says, so that it does not depend on the batch.

    For any prompt, the draws of all seeds are independent; so the best k of noise are a uniform choice, and the best k
    of logits and noise are k draws without replacement.

    Args:
        hidden: Size d of what is read.
        shape: Of a prompt's noise.
        seed: Other noise for the same prompts.
    """

    def __init__(self, hidden: int, shape: tuple[int, ...], seed: int) -> None:
        chance = torch.Generator().manual_seed(seed)
        self._directions = torch.randn(hidden, math.prod(shape), generator=chance, dtype=torch.float64) * _CYCLES
        self._shape = shape

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return noise float32 [B, *shape] for [B, d]."""
        self._directions = self._directions.to(hidden.device)
        uniform = (nn.functional.normalize(hidden.double().nan_to_num(), dim=1) @ self._directions).remainder(1)
        return -(-uniform.clamp(1e-9, 1 - 1e-9).log()).log().float().view(-1, *self._shape)


def in_order(shape: tuple[int, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return logits [B, *shape] that turn on block after block, for all prompts [B, d]."""
    scores = -torch.arange(math.prod(shape), dtype=torch.float32).view(shape)
    return lambda hidden: scores.to(hidden.device).expand(len(hidden), *shape)


class _Draw:
    """Draws entries that are still inactive, with or without Gumbel noise."""

    def __init__(self, noisy: bool, tau: float, generator: torch.Generator | None) -> None:
        self._noisy, self._tau, self._generator = noisy, tau, generator

    def scores(self, logits: torch.Tensor, inactive: torch.Tensor) -> torch.Tensor:
        """Return perturbed logits over tau, and minus infinity where active."""
        if self._noisy:
            waits = torch.empty_like(logits).exponential_(generator=self._generator)
            logits = logits - waits.clamp(min=torch.finfo(waits.dtype).tiny).log()
        return (logits / self._tau).masked_fill(~inactive, -torch.inf)

    def hot(self, logits: torch.Tensor, inactive: torch.Tensor, count: int) -> torch.Tensor:
        """Return ones at the best ``count`` of the last axis, with the gradient of the softmax."""
        scores = self.scores(logits, inactive)
        chosen = scores.topk(count, dim=-1).indices
        return _straight_through(torch.zeros_like(scores).scatter(-1, chosen, 1.0), scores.softmax(dim=-1))


def _sample_blocks(logits: torch.Tensor, k: torch.Tensor, draw: _Draw) -> torch.Tensor:
    gates = torch.zeros_like(logits)
    for unit in range(int(k.max())):
        gates = gates + draw.hot(logits, gates.detach() < 0.5, 1) * (unit < k)[:, None]
    return gates


def _straight_through(hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    return hard + (soft - soft.detach())


def _places(scores: torch.Tensor) -> torch.Tensor:
    """Return each score's place in its row, 0 for the highest; equal ones in their order."""
    return scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
