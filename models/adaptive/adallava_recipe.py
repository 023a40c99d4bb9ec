"""``adaptbench train adallava``: a scheduler is trained together with the language model of any LLaVA."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...harness.errors import UserError
from ...harness.hashing import sha256_file
from ...harness.identity import BoundModel
from ...harness.planned_models import plan_model
from ...harness.plugins import load_plugins
from ...harness.specs import parse
from ..finetuning.asked import same
from ..reference.tiny_llava_recipe import draw_scenes

if TYPE_CHECKING:
    from ...adapters.transformers_multimodal import HFMultimodal
    from .scheduler import Scheduler
    from .switches import Rule, Switches
    from .training_data import Source

_WHERE = "recipe adallava"
_CHOICES = {
    "switch": ("layers", "heads"),
    "scheduler": ("probabilistic", "deterministic", "deterministic-topk", "random"),
    "freeze": ("none", "backbone"),
    "precision": ("float32", "bfloat16", "float16"),
}


@dataclass(frozen=True)
class Training:
    """What is asked for.

    Attributes:
        base: Spec of the LLaVA to begin with: ``tiny-llava``, ``llava:PATH``.
        switch: ``layers`` (AdaLLaVA-L) or ``heads`` (AdaLLaVA-H).
        scheduler: ``probabilistic``, ``deterministic``, ``deterministic-topk`` or ``random``.
        pruning: What selects visual tokens in training too: ``prumerge-plus``, ``fastv(k=2,r=0.5)``.
        data: A JSON file of conversations in LLaVA's format, or a folder with ``instruct.json``; without it, scenes of
            ``shapes`` are drawn.
        images: Folder that the paths of the images start from; default the one of the JSON file.
        scenes: How many to draw.
        history: Whether a question follows the earlier ones of its conversation, or is asked alone.
        steps: Of the optimizer.
        batch: Images, or texts without one, a step on each device.
        questions: Of an image, at most; each with a budget of its own.
        rate: Greatest learning rate of language model and projector; the dissertation's, for LLaVA-1.5, is 1e-5.
        scheduler_rate: The scheduler's and the latency encoder's; default ``rate``.
        warmup: Share of the steps.
        decay: Weight decay.
        penalty: Of what a deterministic scheduler spends beyond the budget.
        freeze: ``none``: language model, projector and scheduler learn together. ``backbone``: the scheduler and its
            latency encoder alone do.
        tau: Temperature of the softmax that a plan's gradient goes through.
        least: Smallest budget that a question draws; default the floor, where nothing but the prefix runs.
        most: Greatest.
        prefix: Blocks that always run; default the first half.
        rank: Heads that one switch turns on; default 8 where they make several groups, else 1.
        accumulate: Batches a step.
        precision: ``float32``; ``bfloat16`` or ``float16`` for mixed precision.
        workers: Processes that read data.
        save_every: Steps between two checkpoints.
        seed: Of all that is drawn.
        threads: Processor cores to use; 0 for all.
    """

    base: str
    switch: Literal["layers", "heads"] = "layers"
    scheduler: Rule = "probabilistic"
    pruning: str = ""
    data: str = ""
    images: str = ""
    scenes: int = 12_000
    history: bool = False
    steps: int = 1000
    batch: int = 8
    questions: int = 8
    rate: float = 3e-4
    scheduler_rate: float | None = None
    warmup: float = 0.03
    decay: float = 0.0
    penalty: float = 1.0
    freeze: Literal["none", "backbone"] = "none"
    tau: float = 5.0
    least: float | None = None
    most: float = 1.0
    prefix: int | None = None
    rank: int | None = None
    accumulate: int = 1
    precision: str = "float32"
    workers: int = 0
    save_every: int = 100
    seed: int = 0
    threads: int = 0

    @property
    def spec(self) -> str:
        """Of what is trained."""
        return f"{self.base}+{self.pruning}" if self.pruning else self.base


def train_adallava(out: Path, **asked: Any) -> None:
    """Train AdaLLaVA; what was done before is not done again.

    Args:
        out: Folder of the checkpoints, ``log.jsonl`` and the folder ``model``, which ``adallava-l(checkpoint=...)``
            reads; without data also of the scenes.
        asked: Of a `Training`.

    Raises:
        UserError: An argument is unknown, the base is not a LLaVA, the data cannot be read, or ``out`` holds
            another training.
    """
    training = Training(**asked)
    _check(training)
    model, weights = _model(training.spec)
    source = _source(training, out)
    same(out, {**_decisive(training), "data": sha256_file(source.file), "weights": weights})

    import torch

    from .train_adallava import Recipe, train
    from .training_data import Questions

    if training.threads:
        torch.set_num_threads(training.threads)
    known = [field.name for field in fields(Recipe)]
    given = {name: value for name, value in asdict(training).items() if name in known and value is not None}
    scheduler = _scheduler(model, training)
    units = _units(scheduler.config, training)
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    questions = Questions(
        source,
        model.loaded,
        units,
        length=training.steps * training.batch * training.accumulate * devices,
        questions=training.questions,
        history=training.history,
        seed=training.seed,
    )
    train(model, scheduler, questions, Recipe(**given), out)


# The command line asks for a recipe's arguments: they are those of a `Training`.
train_adallava.__signature__ = Signature(  # type: ignore[attr-defined]
    [Parameter("out", Parameter.POSITIONAL_OR_KEYWORD), *signature(Training).parameters.values()]
)


def _check(training: Training) -> None:
    for name, known in _CHOICES.items():
        value = getattr(training, name)
        if value not in known:
            raise UserError(f"unknown {name} {value!r}", where=_WHERE, todo=f"choose from {', '.join(known)}")
    for name in ("steps", "batch", "questions", "accumulate", "scenes", "save_every"):
        value = getattr(training, name)
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name}={value} is not a positive number", where=_WHERE, todo="give 1 or more")
    if not training.tau > 0:
        raise UserError(f"tau={training.tau} is not a temperature", where=_WHERE, todo="give a number above 0")


def _decisive(training: Training) -> dict[str, Any]:
    """What has an influence on the result."""
    return {name: value for name, value in asdict(training).items() if name not in ("save_every", "threads", "workers")}


def _model(text: str) -> tuple[HFMultimodal, str]:
    """Load the LLaVA to begin with, and what selects its tokens; tell which weights these are."""
    from ...adapters.transformers_multimodal import HFMultimodal
    from .steering import Steering

    planned = plan_model(load_plugins().registry, parse(text))
    bound = BoundModel(planned, planned.bind(seed=0, device="cpu"))
    factory, model = planned.base.entry.factory(), bound.load()
    if not isinstance(model, HFMultimodal) or model.kinds != HFMultimodal.kinds:
        raise UserError("only a LLaVA's scheduler is trained", where=f"base {text}", todo="name one: tiny-llava")
    if any(isinstance(method, Steering) for method in model.methods):
        raise UserError("it has a scheduler already", where=f"base {text}", todo="leave it out")
    return model, str(getattr(factory, "fingerprint", lambda **_: "")(**bound.arguments))


def _scheduler(model: HFMultimodal, training: Training) -> Scheduler:
    """An untrained scheduler for a model."""
    from .scheduler import Scheduler
    from .switches import SchedulerConfig, default_rank

    decoder, heads = model.decoder, model.decoder.blocks.heads
    usual = default_rank(heads) if training.switch == "heads" else 1
    config = SchedulerConfig(
        switch=training.switch,
        layers=decoder.depth,
        heads=heads,
        hidden=model.loaded.model.config.text_config.hidden_size,
        prefix=decoder.depth // 2 if training.prefix is None else training.prefix,
        rank=usual if training.rank is None else training.rank,
        rule=training.scheduler,
    )
    return Scheduler(config, training.seed)


def _units(switches: Switches, training: Training) -> tuple[int, int]:
    """How many units the smallest and the greatest budget turn on."""
    least = switches.floor if training.least is None else training.least
    fewest, most = switches.k(least), switches.k(training.most)
    if fewest > most:
        todo = "give least a budget of at most that of most"
        raise UserError(f"no budget lies in {training.least} to {training.most}", where=_WHERE, todo=todo)
    return fewest, most


def _source(training: Training, out: Path) -> Source:
    from .training_data import Source

    if not training.data:
        draw_scenes(out / "data", training.scenes, training.seed)
    path = Path(training.data).expanduser() if training.data else out / "data"
    file = path / "instruct.json" if path.is_dir() else path
    if not file.is_file():
        todo = "name a JSON file in LLaVA's format, or a folder with instruct.json"
        raise UserError("there are no conversations", where=str(file), todo=todo)
    return Source(file, Path(training.images).expanduser() if training.images else file.parent)
