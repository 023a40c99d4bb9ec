"""AdaLLaVA on any LLaVA: a scheduler decides, prompt by prompt, what of the decoder's later blocks runs (chapter 5).

A budget is a share of the switchable units - blocks, or groups of heads -, rounded down; the first half of the blocks
always runs (dissertation section 5.2 and appendix C.1). `steering` runs what is declared here.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from ...harness.abilities import ShipsCheckpoints
from ...harness.errors import MissingArgument, UserError
from ...harness.execution import Execution, LayerWork
from ...harness.methods import Budget, Method, Seed
from .switches import SchedulerConfig, channel_groups, default_rank, has_weights, read_config

if TYPE_CHECKING:
    from ...harness.measure.work import Work
    from ...harness.transformer import Stack

_AUTO, _NONE = "auto", "none"
_HEAD_READS = {"learned": 1, "sampled": 2, "random": 1}
"""Matrices of the scheduler's size that the hidden state is multiplied with."""


class AdaLlava(Method):
    """What both variants have in common.

    A checkpoint's scheduler and latency encoder are used, and a ``model.safetensors`` beside them: parameters of the
    language model and projector that were trained together with them. A public checkpoint brings its own finetuned
    language model, head and projector; see `public.decoder`.
    """

    switch: ClassVar[Literal["layers", "heads"]]

    checkpoint: str = _AUTO
    """The folder or hub id of a trained scheduler or of a public AdaLLaVA checkpoint, or a name under which the model
    ships one; auto takes the usual one, if any ships, and none an untrained scheduler."""
    prefix: int | None = Field(None, ge=1)
    """How many blocks always run; by default as the checkpoint says, else the first half."""
    scheduler: Literal["learned", "sampled", "random", "first", "full"] = "learned"
    """How it decides: learned as it was trained to, sampled by draws from what it predicts, random by uniform draws;
    first takes the first blocks, full all of them."""
    latency_token: bool | None = None
    """Whether a latency token follows the prompt; by default only with a checkpoint, as it would be untrained without
    one."""
    seed: Seed = 0
    """The seed of what is drawn, and of an untrained latency encoder."""
    budget: Budget = 1.0

    @property
    def where(self) -> str:
        """What messages are about."""
        return f"method adallava-{self.switch[0]}"

    @property
    def trained(self) -> str:
        """Path or hub id of the checkpoint; empty if there is none."""
        return "" if self.checkpoint in (_AUTO, _NONE) else self.checkpoint

    def for_base(self, factory: object) -> Self:
        """Return the method with the checkpoint that ships for the base under the name given."""
        every = factory.checkpoints if isinstance(factory, ShipsCheckpoints) else {}
        shipped = every.get(f"adallava-{self.switch[0]}", {})
        found = self.model_copy(update={"checkpoint": shipped.get(self.checkpoint, self.checkpoint)})
        if found.checkpoint == _AUTO:
            found = found.model_copy(update={"checkpoint": _NONE})
        if found.scheduler in ("learned", "sampled") and not found.trained:
            todo = "give checkpoint=FOLDER, or scheduler=random or first"
            raise MissingArgument(f"a {found.scheduler} scheduler needs a checkpoint", where=self.where, todo=todo)
        return found

    def switched_on(self) -> Self:
        """Return the method that runs all units and adds nothing."""
        return self.model_copy(update={"budget": 1.0, "scheduler": "full", "latency_token": False})

    def fingerprint(self) -> str:
        """Identify the checkpoint."""
        from ...adapters.multimodal_checkpoint import fingerprint

        return fingerprint(self.trained) if self.trained else "untrained"

    def apply(self, model: Any) -> Any:
        """Return the model with a scheduler that keeps the budget."""
        from .steering import Schedule, steered

        method, stack = self.for_base(None), model.architecture.language.stack
        config, units = method.units(stack.layers, stack.heads, stack.hidden)
        token, flops = method.reads_latency(), method.flops(config)
        return steered(model, Schedule(config, units, method.trained, method.scheduler, token, flops, method.seed))

    def leaves(self, work: Work) -> Work:
        """Return the units that the budget pays for, with the latency token and what the scheduler computes itself.

        For an architecture without weights the latency token counts and the scheduler does not, as in Table C.2.
        """
        stack, _ = work.language
        config, units = self.units(stack.layers, stack.heads, stack.hidden)
        if self.reads_latency(bare=self.checkpoint == _AUTO):
            work = work.with_one_more_token()
        left = self.left(work, config, units)
        if self.trained and has_weights(self.trained):
            left = left.with_own_weights()
        if self._by_sign(config):
            left = left.assuming("a deterministic scheduler may keep other units than the budget's; those are assumed")
        return left if self.checkpoint == _AUTO else left.adding(self.flops(config))

    def left(self, work: Work, config: SchedulerConfig, units: int) -> Work:
        """Return what is left of the work with that many units on."""
        raise NotImplementedError

    def whole_blocks(self, config: SchedulerConfig, units: int) -> int:
        """How many of the first blocks run whole, whatever the scheduler decides."""
        in_order = self.scheduler == "first" or (units == config.switched and not self._by_sign(config))
        return config.prefix + (units // config.per_block if in_order else 0)

    def _by_sign(self, config: SchedulerConfig) -> bool:
        """Whether each switch is decided by itself, so that other units may run than the budget pays for."""
        return self.scheduler == "learned" and config.rule == "deterministic"

    def reads_latency(self, *, bare: bool = False) -> bool:
        """Whether a latency token follows the prompt."""
        return (bool(self.trained) or bare) if self.latency_token is None else self.latency_token

    def flops(self, config: SchedulerConfig) -> int:
        """FLOPs of latency encoder and scheduler, for one prompt."""
        return self.reads_latency() * config.encoder_flops + _HEAD_READS.get(self.scheduler, 0) * config.head_flops

    def units(self, layers: int, heads: int, hidden: int) -> tuple[SchedulerConfig, int]:
        """Return what is switched of a decoder, and how many units the budget turns on beside the prefix.

        Raises:
            UserError: The checkpoint is of another model or method, or the budget cannot be met.
        """
        config = self._config({"switch": self.switch, "layers": layers, "heads": heads, "hidden": hidden})
        units = config.k(self.budget)
        if self.scheduler == "full" and units < config.switched:
            what = f"scheduler=full runs everything, which a budget of {self.budget:g} does not allow"
            raise UserError(what, where=self.where, todo="leave the budget out, or choose another scheduler")
        return config, units

    def _config(self, size: dict[str, Any]) -> SchedulerConfig:
        given = {name: value for name in ("prefix", "rank") if (value := getattr(self, name, None)) is not None}
        if not self.trained:
            rank = default_rank(size["heads"]) if self.switch == "heads" else 1
            return SchedulerConfig.model_validate({"prefix": size["layers"] // 2, "rank": rank, **size, **given})
        config = read_config(self.trained)
        for name, value in (size | given).items():
            found = getattr(config, name)
            if found != value:
                raise UserError(
                    f"the scheduler in {self.trained} was made for {name} {found}, and here {name} is {value}",
                    where=self.where,
                    todo="give a checkpoint of this model and method",
                )
        return config


class AdaLlavaL(AdaLlava):
    """AdaLLaVA-L: whole blocks are switched."""

    switch = "layers"

    def left(self, work: Work, config: SchedulerConfig, units: int) -> Work:
        """Return the work of the prefix and ``units`` further blocks; which ones makes no difference to the cost."""
        kept = work.language[1].keep_layers(config.prefix + units)
        return work.with_execution(kept, always=self.whole_blocks(config, units))


class AdaLlavaH(AdaLlava):
    """AdaLLaVA-H: groups of heads, with as many groups of MLP channels, are switched."""

    switch = "heads"

    rank: int | None = Field(None, ge=1)
    """How many heads, and groups of MLP channels, one switch turns on; by default as the checkpoint says, else 8 where
    they make several groups, else 1."""

    def left(self, work: Work, config: SchedulerConfig, units: int) -> Work:
        """Return the work of the prefix and ``units`` groups of heads and channels, evenly over the other blocks.

        With ``scheduler=first`` they fill one block after the other, as they do in the model.
        """
        stack, execution = work.language
        if self.scheduler == "first":
            active = Execution(tuple(_in_order(execution, stack, config, units)))
        else:
            active = execution.with_active_heads(stack, units=units, rank=config.rank, prefix=config.prefix)
        return work.with_execution(active, always=self.whole_blocks(config, units))


def _in_order(execution: Execution, stack: Stack, config: SchedulerConfig, units: int) -> list[LayerWork]:
    sizes, kept = [len(group) for group in channel_groups(stack.ffn, stack.heads)], []
    for layer in execution.layers:
        before = max(0, layer.layer - config.prefix) * config.per_block
        on = config.per_block if layer.layer < config.prefix else min(config.per_block, units - before)
        if on > 0:
            heads = on * config.rank
            kept.append(LayerWork(layer.layer, layer.tokens, heads, Fraction(sum(sizes[:heads]), stack.ffn)))
    return kept
