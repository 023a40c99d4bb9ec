"""The loop that every training goes through: `transformers.Trainer`, resumable to the bit.

The Trainer has devices, mixed precision, accumulation, schedules and checkpoints. Added here: batches that are drawn
already, a learning rate for some of the parameters, the best weights by a validation, and a log that is a file.
"""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BEST = "best.safetensors"


class Batches(Protocol):
    """What is trained on: the keyword arguments of the trainee's forward pass, drawn already.

    An item depends on its number and on nothing else, so that a training that is resumed sees the same.
    """

    def __len__(self) -> int:
        """How many there are: one for each step, accumulated batch and device."""
        ...

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        """Return one, on the CPU."""
        ...


@dataclass(frozen=True)
class Loop:
    """How something is trained.

    Attributes:
        steps: Of the optimizer.
        rate: Learning rate: the greatest, if it changes.
        rates: Part of a parameter's name -> the learning rate of those that have it; of several, the first counts.
        optimizer: ``sgd`` or ``adamw``.
        momentum: Of ``sgd``.
        decay: Weight decay.
        schedule: What becomes of the rate after the warm-up: ``constant``; ``linear`` or ``cosine``, down to zero.
        warmup: Share of the steps in which the rate rises from zero.
        clip: Greatest norm of the gradient; 0 for any.
        accumulate: Batches a step.
        precision: ``float32``; ``bfloat16`` or ``float16`` for mixed precision.
        workers: Processes that read batches.
        save_every: Steps between two checkpoints.
        log_every: Steps between two lines of the log.
        validate_every: Steps between two validations; one comes after the last step anyway.
        seed: Of what the trainee itself draws.
    """

    steps: int
    rate: float
    rates: Mapping[str, float] = field(default_factory=dict)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    decay: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: float = 0.0
    clip: float = 0.0
    accumulate: int = 1
    precision: str = "float32"
    workers: int = 0
    save_every: int = 100
    log_every: int = 25
    validate_every: int = 100
    seed: int = 0


def fit(
    trainee: torch.nn.Module, batches: Batches, loop: Loop, out: Path, validate: Callable[[], float] | None = None
) -> None:
    """Train in place, or go on training; on a CPU a training that was stopped ends with the same weights, bit for bit.

    Args:
        trainee: Its forward pass takes a batch and returns a mapping with the ``loss``, a mean; its ``state_dict`` is
            what a checkpoint holds, and must share no memory.
        batches: As many as all devices need for all steps.
        loop: How.
        out: Folder of ``log.jsonl``, ``checkpoints`` and, with a validation, the best weights.
        validate: Returns a score of the trainee as it is; higher is better. The trainee ends with the weights of the
            highest score; of equal ones, the first.

    Raises:
        UserError: A loss or a weight is not finite, or one process sees several GPUs.
    """
    trainer = _Trainer(
        trainee, _arguments(loop, out), data_collator=_only, train_dataset=batches, callbacks=[_Finite(loop.save_every)]
    )
    trainer.loop = loop
    trainer.model_accepts_loss_kwargs = False
    if validate is not None:
        trainer.add_callback(_Best(validate, loop.validate_every, out))
    trainer.add_callback(_Log(out))
    trainer.remove_callback(transformers.PrinterCallback)
    if sys.stderr.isatty():
        trainer.add_callback(_Bar)
    trainer.train(resume_from_checkpoint=_last(out / "checkpoints"))
    if validate is not None:
        trainee.load_state_dict(load_file(out / _BEST))


def leads() -> bool:
    """Whether this process is the one that writes: of a training on several devices, the first."""
    return int(os.environ.get("RANK", "0")) == 0


def _only(items: list[Any]) -> Any:
    """Each item of the data is a batch."""
    return items[0]


def _last(folder: Path) -> str | None:
    """The last checkpoint that is whole: the state of the trainer is the last file of one."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


class _Trainer(transformers.Trainer):  # type: ignore[misc]
    """Reads the batches in their order, has rates for some parameters, and stops at a loss that is not finite."""

    loop: Loop

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int]:
        return torch.utils.data.SequentialSampler(train_dataset or self.train_dataset)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make it, with a group of parameters for each rate."""
        if self.optimizer is None:
            rates = {"": self.loop.rate, **self.loop.rates}
            groups: dict[str, list[torch.nn.Parameter]] = {part: [] for part in rates}
            for name, parameter in (model or self.model).named_parameters():
                if parameter.requires_grad:
                    groups[next((part for part in self.loop.rates if part in name), "")].append(parameter)
            made = [{"params": groups[part], "lr": rate} for part, rate in rates.items()]
            if self.loop.optimizer == "adamw":
                self.optimizer: Any = torch.optim.AdamW(made, weight_decay=self.loop.decay)
            else:
                self.optimizer = torch.optim.SGD(made, momentum=self.loop.momentum, weight_decay=self.loop.decay)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        """Return the loss of a batch, after its backward pass."""
        loss: torch.Tensor = super().training_step(*arguments, **named)
        if not torch.isfinite(loss):
            raise _diverged("the loss", self.state.global_step + 1, self.args)
        return loss


class _Finite(transformers.TrainerCallback):  # type: ignore[misc]
    """Lets no weight that is not finite into a checkpoint."""

    def __init__(self, every: int) -> None:
        self._every = every

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:  # noqa: ARG002 - names of the library
        """Look at the weights where a checkpoint, or the end, is due."""
        if not _due(state, self._every):
            return
        if not all(bool(part.isfinite().all()) for part in known["model"].parameters() if part.requires_grad):
            raise _diverged("a weight", state.global_step, args)


class _Best(transformers.TrainerCallback):  # type: ignore[misc]
    """Keeps the weights with the highest score; a step that is done again has the same, which changes nothing."""

    def __init__(self, validate: Callable[[], float], every: int, out: Path) -> None:
        self._validate, self._every, self._file = validate, every, out / _BEST

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:  # noqa: ARG002 - names of the library
        """Validate, if it is due, and note the score."""
        if not _due(state, self._every):
            return
        with torch.no_grad():
            score = float(self._validate())
        if not math.isfinite(score):
            raise _diverged("the score", state.global_step, args)
        state.log_history.append({"step": state.global_step, "score": score})
        if state.is_world_process_zero and score > self._highest():
            weights = {name: part.detach().cpu().contiguous() for name, part in known["model"].state_dict().items()}
            draft = self._file.with_suffix(".tmp")
            save_file(weights, draft, metadata={"step": str(state.global_step), "score": repr(score)})
            draft.replace(self._file)

    def _highest(self) -> float:
        if not self._file.is_file():
            return -math.inf
        with safe_open(self._file, "pt") as opened:
            return float(opened.metadata()["score"])


class _Log(transformers.TrainerCallback):  # type: ignore[misc]
    """Writes the log anew at each line, so that one that is resumed holds no step twice."""

    def __init__(self, out: Path) -> None:
        self._file = out / "log.jsonl"

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - names of the library
        """Write what has been logged so far: step, loss, norm of the gradient, learning rate, score."""
        if state.is_world_process_zero:
            lines = [_line(note) for note in state.log_history if "loss" in note or "score" in note]
            self._file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    on_train_end = on_log


def _line(note: Mapping[str, Any]) -> dict[str, Any]:
    names = {"step": "step", "loss": "loss", "grad_norm": "grad_norm", "learning_rate": "rate", "score": "score"}
    return {new: note[old] for old, new in names.items() if old in note}


class _Bar(transformers.ProgressCallback):  # type: ignore[misc]
    """A bar on the standard error, which leaves the standard output alone."""

    def on_log(self, *_: Any, **__: Any) -> None:
        """Say nothing: the log is a file."""


def _due(state: Any, every: int) -> bool:
    return bool(state.global_step % every == 0 or state.global_step == state.max_steps)


def _diverged(what: str, step: int, args: Any) -> UserError:
    """The message; what was saved before stays."""
    kept = ", after the last checkpoint" if _last(Path(args.output_dir)) else ""
    return UserError(
        f"{what} is not finite", where=f"step {step}{kept}", todo="train with a lower rate, to another --out"
    )


def _arguments(loop: Loop, out: Path) -> Any:
    schedule = "constant_with_warmup" if loop.schedule == "constant" else loop.schedule
    arguments = transformers.TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=loop.steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=loop.accumulate,
        learning_rate=loop.rate,
        weight_decay=loop.decay,
        max_grad_norm=loop.clip,
        lr_scheduler_type=schedule,
        warmup_steps=round(loop.warmup * loop.steps),
        bf16=loop.precision == "bfloat16",
        fp16=loop.precision == "float16",
        logging_steps=loop.log_every,
        logging_nan_inf_filter=False,
        save_steps=loop.save_every,
        save_total_limit=1,
        dataloader_num_workers=loop.workers,
        remove_unused_columns=False,
        ddp_find_unused_parameters=True,
        disable_tqdm=True,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        seed=loop.seed,
    )
    if arguments.n_gpu > 1:
        raise UserError(
            f"one process sees {arguments.n_gpu} GPUs",
            where="training",
            todo="start one for each: torchrun --no-python --nproc-per-node N adaptbench train ...",
        )
    return arguments
