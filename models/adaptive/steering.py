"""How AdaLLaVA steers a decoder: a latency token tells the budget, and a scheduler plans what runs of a prompt.

What has become of the latency token where the first switched block begins goes to the scheduler, whose choice holds for
the whole answer. What is off is not run, and keeps no keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ...adapters.decoder import SKIPPED, WHOLE, Block, Gates
from ...adapters.multimodal_checkpoint import version
from .public import decoder as public_decoder
from .scheduler import ContentNoise, Scheduler, best, finetuned, in_order, load
from .switches import channel_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...adapters.decoder import Plan, State
    from ...adapters.transformers_multimodal import HFMultimodal
    from .switches import SchedulerConfig, Switches


class Schedule(NamedTuple):
    """How much a scheduler turns on, and how it chooses what.

    Attributes:
        config: What it is made for.
        units: How many units it turns on beside the prefix.
        checkpoint: Path or hub id of a trained one; empty for an untrained one.
        scheduler: ``learned``, ``sampled``, ``random``, ``first`` or ``full``.
        latency_token: Whether a latency token follows the prompt.
        flops: Of latency encoder and scheduler, for one prompt.
        seed: Of what is drawn, and of an untrained one's weights.
    """

    config: SchedulerConfig
    units: int
    checkpoint: str
    scheduler: str
    latency_token: bool
    flops: int
    seed: int


def steered(model: HFMultimodal, schedule: Schedule) -> HFMultimodal:
    """Return a LLaVA steered by AdaLLaVA; it shares its weights with the given one.

    Raises:
        UserError: Model and checkpoint do not fit each other.
    """
    config, units, checkpoint, *_ = schedule
    scheduler = load(checkpoint) if checkpoint else Scheduler(config, schedule.seed).eval()
    scheduler = scheduler.requires_grad_(False).to(next(model.module.parameters()).device)
    encodes = (lambda: scheduler.token([units])) if schedule.latency_token else None
    decide = _decision(scheduler, schedule)
    base = _tuned(model, checkpoint) if checkpoint else model
    return base.with_method(Steering(config, model.decoder.blocks.channels, decide, encodes, schedule.flops))


class Steering:
    """The method at one budget; see `adapters.decoder.Method`.

    Args:
        switches: What is switched.
        channels: MLP channels of a block.
        decide: Given hidden states [B, d] that enter the first switched block, the last of each prompt, returns which
            switches are on: bool [B, S] or [B, S, 2, H].
        token: Encodes the latency token [1, d], if there is one.
        flops: Of latency encoder and scheduler, for one prompt.

    Attributes:
        first: The first block that is switched.
    """

    def __init__(
        self,
        switches: Switches,
        channels: int,
        decide: Callable[[torch.Tensor], torch.Tensor],
        token: Callable[[], torch.Tensor] | None = None,
        flops: int = 0,
    ) -> None:
        self.first, self.switches, self.flops = switches.prefix, switches, flops
        self._channels, self._decide, self._token = channels, decide, token
        self._groups = channel_groups(channels, switches.heads)

    def after_prompt(self, batch: int) -> torch.Tensor | None:
        """Return the latency token for each prompt, [batch, 1, d]."""
        return None if self._token is None else self._token().expand(batch, 1, -1)

    def before(self, index: int, state: State) -> State:
        """Plan, once."""
        if index != self.first:
            return state
        return state.planned(plans(self._decide(state.hidden[:, -1]), self.switches, self._channels))

    def units(self, plan: Plan) -> tuple[int, int]:
        """Return the units that run under a plan, those of the prefix included, and all there are.

        A unit of AdaLLaVA-H is ``rank`` heads and ``rank`` groups of channels. A deterministic scheduler may turn on
        other numbers of the two; then two of either count for one of both, and a unit that has started counts.
        """
        switches, active = self.switches, 0
        for block in (plan.get(index, WHOLE) for index in range(switches.layers)):
            if switches.switch == "layers":
                active += not block.skipped
            else:
                active += switches.heads if block.heads is None else len(block.heads)
                active += self._active_groups(block)
        each = 1 if switches.switch == "layers" else 2 * switches.rank
        return -(-active // each), switches.total

    def _active_groups(self, block: Block) -> int:
        if block.channels is None:
            return len(self._groups)
        return sum(any(group.start in run for run in block.channels) for group in self._groups)


def plans(choice: torch.Tensor, switches: Switches, channels: int) -> list[Plan]:
    """Return what runs of each prompt's blocks.

    Args:
        choice: Which switches are on, bool [B, S] or [B, S, 2, H].
        switches: What is switched.
        channels: MLP channels of a block.
    """
    if switches.switch == "layers":
        return [{block: SKIPPED for block, on in enumerate(row, switches.prefix) if not on} for row in choice.tolist()]
    groups = channel_groups(channels, switches.heads)
    return [
        {block: _part(heads, mlp, groups) for block, (heads, mlp) in enumerate(row, switches.prefix)}
        for row in choice.tolist()
    ]


def gates(drawn: torch.Tensor, switches: Switches, channels: int) -> dict[int, Gates]:
    """Return the factors of each switched block, for training: gradients pass through them to the scheduler.

    Args:
        drawn: From `Scheduler.sample`, [B, S] or [B, S, 2, H].
        switches: What is switched.
        channels: MLP channels of a block.
    """
    if switches.switch == "layers":
        return {switches.prefix + place: Gates(block=block) for place, block in enumerate(drawn.unbind(1))}
    sizes = torch.tensor([len(group) for group in channel_groups(channels, switches.heads)], device=drawn.device)
    return {
        switches.prefix + place: Gates(heads, mlp.repeat_interleave(sizes, dim=1))
        for place, (heads, mlp) in enumerate(block.unbind(1) for block in drawn.unbind(1))
    }


def _tuned(model: HFMultimodal, path: str) -> HFMultimodal:
    """The model with the weights that were trained with a scheduler, if there are any; read once for all budgets."""

    def make() -> HFMultimodal:
        tensors = finetuned(path) or public_decoder(path, model.loaded.model)
        return model.with_weights(tensors) if tensors else model

    return model.once(version(path), make)


def _decision(scheduler: Scheduler, schedule: Schedule) -> Callable[[torch.Tensor], torch.Tensor]:
    """What decides which switches are on: hidden states [B, d] -> bool [B, S] or [B, S, 2, H]."""
    config, units = scheduler.config, schedule.units
    name = config.rule if schedule.scheduler == "learned" else schedule.scheduler

    def chosen(score: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda hidden: best(score(hidden), [units] * len(hidden), config)

    if name in ("first", "full"):
        return chosen(in_order(config.logits))
    if name in ("random", "sampled"):
        noise = ContentNoise(config.hidden, config.logits, schedule.seed)
        return chosen(noise if name == "random" else lambda hidden: scheduler.logits(hidden) + noise(hidden))
    return lambda hidden: scheduler.choose(scheduler.logits(hidden), [units] * len(hidden))


def _part(heads: list[bool], mlp: list[bool], groups: list[range]) -> Block:
    """A block with some heads and some groups of channels; where all are on, it is named as a whole one."""
    runs: list[range] = []
    for group in (group for group, on in zip(groups, mlp, strict=True) if on and group):
        start = runs.pop().start if runs and runs[-1].stop == group.start else group.start
        runs.append(range(start, group.stop))
    return Block(
        None if all(heads) else tuple(head for head, on in enumerate(heads) if on), None if all(mlp) else tuple(runs)
    )
