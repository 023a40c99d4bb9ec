"""AdaLLaVA on any LLaVA: a scheduler decides, prompt by prompt, what of the decoder's later blocks runs (chapter 5).

A latency token stands after the prompt and tells the budget. What has become of it where the first switched block
begins goes to the scheduler, whose plan holds for the whole answer. What is off is not run, and keeps no keys.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from ...adapters.decoder import SKIPPED, WHOLE, Block, Gates
from ...adapters.multimodal_checkpoint import fingerprint, version
from ...adapters.transformers_multimodal import HFMultimodal
from ...harness.errors import MissingArgument, UserError
from .budget import channel_groups, default_rank
from .public import decoder as public_decoder
from .scheduler import ContentNoise, Scheduler, SchedulerConfig, best, finetuned, in_order, load, read_config
from .shipped import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...adapters.decoder import Plan, State
    from .budget import Switches

SCHEDULERS = ("learned", "sampled", "random", "first", "full")
_AUTO, _NONE = "auto", "none"
_READS = {"learned": 1, "sampled": 2, "random": 1}
"""Matrices of the scheduler's size that the hidden state is multiplied with."""


class AdaLlava:
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

        A unit of AdaLLaVA-H is ``rank`` heads and ``rank`` groups of channels. A deterministic scheduler may open other
        numbers of the two; then two of either count for one of both, and a unit that is begun counts.
        """
        switches, opened = self.switches, 0
        for block in (plan.get(index, WHOLE) for index in range(switches.layers)):
            if switches.switch == "layers":
                opened += not block.skipped
            else:
                opened += switches.heads if block.heads is None else len(block.heads)
                opened += self._open_groups(block)
        each = 1 if switches.switch == "layers" else 2 * switches.rank
        return -(-opened // each), switches.total

    def _open_groups(self, block: Block) -> int:
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


def adallava_l(  # noqa: PLR0913 - one parameter is one option
    model: Any,
    *,
    checkpoint: str = "auto",
    budget: float = 1.0,
    prefix: int | None = None,
    scheduler: str = "learned",
    latency_token: bool | None = None,
    seed: int = 0,
) -> HFMultimodal:
    """AdaLLaVA-L: whole blocks are switched.

    Args:
        model: A LLaVA; it is not changed, and shares its weights with what is returned.
        checkpoint: ``auto``: what the model says that goes with it, as the shipped LLaVA does, else none. ``none``.
            ``prumerge-plus``: the one that goes with it and PruMerge+, with which it was trained.
            Or a folder that `scheduler.save` wrote, or folder or hub id of a public AdaLLaVA checkpoint. Its
            scheduler and latency encoder are used, and a ``model.safetensors`` that stands beside the first: parameters
            of language model and projector that were trained together with it. A public checkpoint brings its own
            finetuned language model, head and projector; see `public.decoder`.
        budget: Share of all blocks that may run, in (0, 1].
        prefix: Blocks that always run; default what the checkpoint says, else the first half.
        scheduler: ``learned``: as the checkpoint was trained to decide. ``sampled``: drawn from what it predicts.
            ``random``: drawn uniformly. ``first``: the first blocks. ``full``: all, for a budget of 1.
        latency_token: Whether a latency token stands after the prompt; default if there is a checkpoint. Without one it
            would be an untrained token.
        seed: Of what is drawn, and of an untrained latency encoder.

    Raises:
        UserError: Model, checkpoint and arguments do not fit each other, or the budget cannot be met.
    """
    asked = _Asked("layers", checkpoint, budget, prefix, 1, scheduler, latency_token, seed)
    return _with_scheduler(model, asked)


def adallava_h(  # noqa: PLR0913 - one parameter is one option
    model: Any,
    *,
    checkpoint: str = "auto",
    budget: float = 1.0,
    prefix: int | None = None,
    rank: int | None = None,
    scheduler: str = "learned",
    latency_token: bool | None = None,
    seed: int = 0,
) -> HFMultimodal:
    """AdaLLaVA-H: groups of heads, with as many groups of MLP channels, are switched.

    Args:
        model: As in `adallava_l`, and so are the other arguments.
        checkpoint: As there.
        budget: Share of all groups of heads that may run, in (0, 1].
        prefix: As there.
        rank: Heads that one switch opens, and groups of MLP channels; default what the checkpoint says, else 8 where
            they make several groups, else 1.
        scheduler: As there.
        latency_token: As there.
        seed: As there.

    Raises:
        UserError: As there.
    """
    asked = _Asked("heads", checkpoint, budget, prefix, rank, scheduler, latency_token, seed)
    return _with_scheduler(model, asked)


class _Asked(NamedTuple):
    """The arguments of a factory."""

    switch: Literal["layers", "heads"]
    checkpoint: str
    budget: float
    prefix: int | None
    rank: int | None
    scheduler: str
    latency_token: bool | None
    seed: int

    @property
    def where(self) -> str:
        return f"method adallava-{self.switch[0]}"


def _with_scheduler(model: Any, asked: _Asked) -> HFMultimodal:
    if not isinstance(model, HFMultimodal):
        raise UserError("only a LLaVA has a decoder to be steered", where=asked.where, todo="leave it out")
    named = {_AUTO: "", _NONE: "", **model.schedulers.get(asked.switch, {})}
    asked = asked._replace(checkpoint=named.get(asked.checkpoint, asked.checkpoint))
    _check(asked.scheduler, asked.checkpoint, asked.where)
    scheduler = _scheduler(model, asked)
    k = scheduler.config.k(asked.budget)
    if asked.scheduler == "full" and k < scheduler.config.switched:
        what = f"scheduler=full runs everything, which a budget of {asked.budget:g} does not allow"
        raise UserError(what, where=asked.where, todo="leave the budget out, or give another scheduler")
    with_token = bool(asked.checkpoint) if asked.latency_token is None else asked.latency_token
    encodes = (lambda: scheduler.token([k])) if with_token else None
    flops = with_token * scheduler.encoder_flops + _READS.get(asked.scheduler, 0) * scheduler.head_flops
    decide = _decision(scheduler, k, asked)
    steered = _tuned(model, asked.checkpoint) if asked.checkpoint else model
    return steered.with_method(AdaLlava(scheduler.config, model.decoder.blocks.channels, decide, encodes, flops))


def _tuned(model: HFMultimodal, path: str) -> HFMultimodal:
    """The model with the weights that were trained with a scheduler, if there are any; read once for all budgets."""

    def make() -> HFMultimodal:
        tensors = finetuned(path) or public_decoder(path, model.loaded.model)
        return model.with_weights(tensors) if tensors else model

    return model.once(version(path), make)


def _scheduler(model: HFMultimodal, asked: _Asked) -> Scheduler:
    """The checkpoint's scheduler, or an untrained one, for this model and on its device."""
    decoder, weight = model.decoder, next(model.module.parameters())
    width = decoder.embed(torch.zeros(1, dtype=torch.long, device=weight.device)).shape[-1]
    size = {"switch": asked.switch, "layers": decoder.depth, "heads": decoder.blocks.heads, "hidden": width}
    given = {name: value for name, value in (("prefix", asked.prefix), ("rank", asked.rank)) if value is not None}
    if not asked.checkpoint:
        rank = default_rank(decoder.blocks.heads) if asked.switch == "heads" else 1
        config = SchedulerConfig.model_validate({"prefix": decoder.depth // 2, "rank": rank, **size, **given})
        return Scheduler(config, asked.seed).eval().requires_grad_(False).to(weight.device)
    scheduler = load(asked.checkpoint)
    for name, value in (size | given).items():
        found = getattr(scheduler.config, name)
        if found != value:
            raise UserError(
                f"the scheduler in {asked.checkpoint} was made for {name} {found}, and here {name} is {value}",
                where=asked.where,
                todo="give a checkpoint of this model and method",
            )
    return scheduler.requires_grad_(False).to(weight.device)


def _decision(scheduler: Scheduler, k: int, asked: _Asked) -> Callable[[torch.Tensor], torch.Tensor]:
    """What decides which switches are on: hidden states [B, d] -> bool [B, S] or [B, S, 2, H]."""
    config = scheduler.config
    name = config.rule if asked.scheduler == "learned" else asked.scheduler

    def chosen(score: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda hidden: best(score(hidden), [k] * len(hidden), config)

    if name in ("first", "full"):
        return chosen(in_order(config.logits))
    if name in ("random", "sampled"):
        noise = ContentNoise(config.hidden, config.logits, asked.seed)
        return chosen(noise if name == "random" else lambda hidden: scheduler.logits(hidden) + noise(hidden))
    return lambda hidden: scheduler.choose(scheduler.logits(hidden), [k] * len(hidden))


def _part(heads: list[bool], mlp: list[bool], groups: list[range]) -> Block:
    """A block with some heads and some groups of channels; where all are on, it is named as a whole one."""
    runs: list[range] = []
    for group in (group for group, on in zip(groups, mlp, strict=True) if on and group):
        start = runs.pop().start if runs and runs[-1].stop == group.start else group.start
        runs.append(range(start, group.stop))
    return Block(
        None if all(heads) else tuple(head for head, on in enumerate(heads) if on), None if all(mlp) else tuple(runs)
    )


def _check(scheduler: str, checkpoint: str, where: str) -> None:
    if scheduler not in SCHEDULERS:
        known = ", ".join(SCHEDULERS)
        raise UserError(f"unknown scheduler {scheduler!r}", where=where, todo=f"choose from {known}")
    if scheduler in ("learned", "sampled") and not checkpoint:
        todo = "give checkpoint=FOLDER, or scheduler=random or first"
        raise MissingArgument(f"a {scheduler} scheduler needs a checkpoint", where=where, todo=todo)


def _fingerprint(
    switch: str, *, checkpoint: str = _AUTO, scheduler: str = "learned", budget: float = 1.0, **_: Any
) -> str:
    """Identify the checkpoint. It is asked for before any weights load, so that what is wrong is told by then."""
    _check(scheduler, "" if checkpoint == _NONE else checkpoint, f"method adallava-{switch[0]}")
    if checkpoint == _NONE:
        return "untrained"
    if checkpoint in SHIPPED[switch]:
        return fingerprint(SHIPPED[switch][checkpoint])
    read_config(checkpoint).k(budget)
    return fingerprint(checkpoint)


adallava_l.fingerprint = functools.partial(_fingerprint, "layers")  # type: ignore[attr-defined]
adallava_h.fingerprint = functools.partial(_fingerprint, "heads")  # type: ignore[attr-defined]
