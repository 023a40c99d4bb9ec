"""Training of AdaLLaVA: scheduler, language model and projector together (dissertation, 5.2.3, 5.2.4 and C.1).

Every question draws a budget, and the scheduler a plan for it; the loss is that of the answer's tokens. A plan's gates
multiply what the blocks add, with straight-through gradients (Gumbel-softmax), so that nothing is skipped in training.

A question runs as it does at inference: the prompt, the latency token, then the answer's tokens on the same keys. So
token selectors and FastV act here as they do there. What the questions of an image begin with alike runs once, up to
the first block that a method steers.

`finetuning.loop` does the rest: devices, mixed precision, accumulation, checkpoints.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from ...adapters.decoder import PartialPrefill
from ...adapters.kv_cache import pad
from ..finetuning.loop import Loop, fit, leads
from ..finetuning.trainee import Trainee
from .scheduler import Scheduler, latency_penalty, save
from .steering import gates
from .training_data import collate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ...adapters.decoder import State
    from ...adapters.transformers_multimodal import HFMultimodal
    from .training_data import Questions

IGNORED = -100
"""Label of what follows an answer."""


@dataclass(frozen=True)
class Recipe:
    """How it is trained.

    Attributes:
        steps: Of the optimizer.
        batch: Images, or texts without one, a step on each device.
        rate: Greatest learning rate of language model and projector; warms up linearly, then falls as a cosine.
        scheduler_rate: The scheduler's and the latency encoder's; default ``rate``.
        warmup: Share of the steps.
        decay: Weight decay.
        penalty: Of what a deterministic scheduler spends beyond the budget (lambda).
        freeze: ``backbone``: language model and projector stay as they are.
        tau: Temperature of the softmax that a plan's gradient goes through; what is drawn does not depend on it.
        accumulate: Batches a step.
        precision: ``float32``; ``bfloat16`` or ``float16`` for mixed precision.
        workers: Processes that read data.
        save_every: Steps between two checkpoints.
        log_every: Steps between two lines of the log.
        seed: Of the scheduler's first weights; the data have their own.
    """

    steps: int
    batch: int = 8
    rate: float = 1e-5
    scheduler_rate: float | None = None
    warmup: float = 0.03
    decay: float = 0.0
    penalty: float = 1.0
    freeze: Literal["none", "backbone"] = "none"
    tau: float = 5.0
    accumulate: int = 1
    precision: str = "float32"
    workers: int = 0
    save_every: int = 100
    log_every: int = 25
    seed: int = 0


class Planner:
    """Steers the decoder in training, as `Steering` does at inference; the plan is a draw, and gates carry it out.

    Args:
        scheduler: Which learns.
        k: Units that may be on in each prompt.
        channels: MLP channels of a block.
        chance: Of the draw.
        tau: As in `Recipe`.

    Attributes:
        first: The first block that is switched.
        drawn: The gates, [B, S] or [B, S, 2, H], once they are drawn.
    """

    def __init__(
        self, scheduler: Scheduler, k: Sequence[int], channels: int, chance: torch.Generator, tau: float = 5.0
    ) -> None:
        self.first = scheduler.config.prefix
        self._scheduler, self._k, self._channels = scheduler, k, channels
        self._chance, self._tau = chance, tau
        self.drawn = torch.empty(0)

    def after_prompt(self, batch: int) -> torch.Tensor:
        """Return each prompt's own latency token, [batch, 1, d]."""
        return self._scheduler.token(self._k).view(batch, 1, -1)

    def before(self, index: int, state: State) -> State:
        """Draw, once."""
        if index != self.first:
            return state
        scores = self._scheduler.logits(state.hidden[:, -1])
        self.drawn = self._scheduler.sample(scores, self._k, tau=self._tau, generator=self._chance)
        return dataclasses.replace(state, gates=gates(self.drawn, self._scheduler.config, self._channels))


class LlavaTrainee(Trainee):
    """A LLaVA and its scheduler. The LLaVA is trained in place; its tower is not.

    Args:
        model: The LLaVA, with whatever selects its tokens.
        scheduler: Made for it.
        recipe: Its penalty, its tau, and what it freezes.
    """

    def __init__(self, model: HFMultimodal, scheduler: Scheduler, recipe: Recipe) -> None:
        super().__init__()
        self.llava, self.scheduler = model.loaded.model, scheduler
        self._model, self._recipe = model, recipe
        self.llava.requires_grad_(recipe.freeze == "none")
        scheduler.requires_grad_(True)
        self.llava.model.vision_tower.requires_grad_(False)
        for part in (one for one in self.llava.parameters() if not one.requires_grad):
            part.data = part.data.clone()  # it may be mapped from its file, which may be replaced while this runs

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the name of torch
        """Stay in evaluation mode: the decoder runs without dropout."""
        return super().train(False)

    def forward(  # noqa: PLR0913 - what `collate` returns
        self,
        *,
        pixels: torch.Tensor | None,
        starts: Sequence[torch.Tensor],
        ends: Sequence[torch.Tensor],
        answers: Sequence[torch.Tensor],
        start_of: Sequence[int],
        k: Sequence[int],
        seed: int,
    ) -> dict[str, torch.Tensor]:
        """Return the ``loss``.

        Args:
            pixels: [images, 3, h, w]; each belongs to a placeholder in the starts, in their order.
            starts: Ids of beginnings of prompts.
            ends: Ids of what follows, of each of B questions; maybe none.
            answers: Their answers' ids, with the end.
            start_of: The beginning of each question.
            k: Units that may be on in each.
            seed: Of their plans.
        """
        chance = torch.Generator(device=answers[0].device).manual_seed(seed)
        planner = Planner(self.scheduler, k, self._model.decoder.blocks.channels, chance, self._recipe.tau)
        hidden = self.hidden(
            pixels=pixels, starts=starts, ends=ends, answers=answers, start_of=start_of, planner=planner
        )
        wanted = pad_sequence(list(answers), batch_first=True, padding_value=IGNORED)
        said = wanted != IGNORED
        loss = cross_entropy(self._model.decoder.logits(hidden[said]).float(), wanted[said])
        config = self.scheduler.config
        if config.rule == "deterministic":
            shares = planner.drawn.new_tensor([float(config.share(units)) for units in k])
            loss = loss + latency_penalty(planner.drawn, shares, config, self._recipe.penalty)
        return {"loss": loss}

    def hidden(
        self,
        *,
        pixels: torch.Tensor | None,
        starts: Sequence[torch.Tensor],
        ends: Sequence[torch.Tensor],
        answers: Sequence[torch.Tensor],
        start_of: Sequence[int],
        planner: Planner | None,
    ) -> torch.Tensor:
        """Return what the last block hands on where each token of the answers is to be said, [B, longest answer, d].

        Args:
            pixels: As in `forward`, and so are the others.
            starts: As there.
            ends: As there.
            answers: As there; padding after shorter answers is ignored.
            start_of: As there.
            planner: ``None`` to run everything, without latency token.
        """
        decoder = self._model.decoder
        methods = (*self._model.methods, *([] if planner is None else [planner]))
        # One look-up for all: each would have a gradient as large as the whole embedding.
        pieces = torch.split(decoder.embed(torch.cat([*starts, *ends])), [len(ids) for ids in (*starts, *ends)])
        prefixes = self._prefixes(pixels, starts, pieces[: len(starts)], decoder.shared_depth(methods))
        rows = list(pieces[len(starts) :])
        for extra in decoder.extras(methods, len(rows)):
            rows = [torch.cat([row, own.to(row)]) for row, own in zip(rows, extra, strict=True)]
        partial = PartialPrefill.batch([prefixes[start] for start in start_of])
        longest = max(map(len, rows))
        if longest:
            real = torch.stack([pad(row.new_ones(len(row), dtype=torch.bool), longest, 0) for row in rows])
            partial = decoder.extend(partial, torch.stack([pad(row, longest, 0) for row in rows]), real)
        state, cache = decoder.run(partial, methods)
        told = decoder.embed(pad_sequence(list(answers), batch_first=True)[:, :-1])
        if not told.shape[1]:
            return state.hidden[:, -1:]
        return torch.cat([state.hidden[:, -1:], decoder.follow(told, cache, state.gates)], dim=1)

    def _prefixes(
        self, pixels: torch.Tensor | None, starts: Sequence[torch.Tensor], pieces: Sequence[torch.Tensor], depth: int
    ) -> list[PartialPrefill]:
        """Run each beginning through the blocks that no method steers."""
        inputs = {} if pixels is None else {"pixel_values": pixels.to(self.llava.dtype)}
        seen = iter(self._model.see(inputs) if inputs else [])
        token, contexts = self.llava.config.image_token_id, []
        for ids, piece in zip(starts, pieces, strict=True):
            parts, visual, done = [], [], 0
            for place in (ids == token).nonzero().flatten().tolist():
                feature = next(seen).features.to(piece)
                parts += [piece[done:place], feature]
                visual += [False] * (place - done) + [True] * len(feature)
                done = place + 1
            visual += [False] * (len(piece) - done)
            whole = torch.cat([*parts, piece[done:]])[None]
            flags = torch.tensor([visual], device=piece.device)
            contexts.append(self._model.decoder.start(whole, None, flags, depth=depth))
        return contexts


def train(model: HFMultimodal, scheduler: Scheduler, questions: Questions, recipe: Recipe, out: Path) -> None:
    """Train, or go on training, and write ``out/model``, ``out/log.jsonl`` and ``out/checkpoints``.

    Args:
        model: A LLaVA, with whatever selects its tokens; trained in place.
        scheduler: Made for it; trained in place.
        questions: As many items as all devices need for all steps.
        recipe: How.
        out: Folder.

    Raises:
        UserError: A loss is not finite, or one process sees several GPUs.
    """
    trainee = LlavaTrainee(model, scheduler, recipe)
    loop = Loop(
        steps=recipe.steps,
        rate=recipe.rate,
        rates={"scheduler.": recipe.rate if recipe.scheduler_rate is None else recipe.scheduler_rate},
        optimizer="adamw",
        decay=recipe.decay,
        schedule="cosine",
        warmup=recipe.warmup,
        clip=1.0,
        accumulate=recipe.accumulate,
        precision=recipe.precision,
        workers=recipe.workers,
        save_every=recipe.save_every,
        log_every=recipe.log_every,
        seed=recipe.seed,
    )
    fit(trainee, _Batches(questions, recipe.batch), loop, out)
    if leads():
        write(trainee, out / "model")


class _Batches:
    """Questions in batches of one size."""

    def __init__(self, questions: Questions, size: int) -> None:
        self._questions, self._size = questions, size

    def __len__(self) -> int:
        return len(self._questions) // self._size

    def __getitem__(self, number: int) -> dict[str, Any]:
        first = number * self._size
        return collate([self._questions[item] for item in range(first, first + self._size)])


def write(trainee: LlavaTrainee, folder: Path) -> None:
    """Write what ``adallava-l(checkpoint=FOLDER)`` reads: the scheduler, and what else was trained, as float16."""
    save(trainee.scheduler, folder)
    tensors = {
        name.removeprefix("llava."): part.detach().to("cpu", torch.float16).contiguous()
        for name, part in trainee.trained()
        if name.startswith("llava.")
    }
    if tensors:
        save_file(tensors, folder / "model.safetensors")
