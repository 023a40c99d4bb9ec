"""How answers are decoded: one rule for every model of the transformers library (``docs/decoding.md``).

An answer is what stock ``generate(do_sample=False)`` gives to its prompt alone: the most probable token, one after the
other, once the logits are changed as the checkpoint's generation_config asks - repetition penalty, n-grams that must
not come again, suppressed, banned and forced tokens, least lengths. The library makes these processors, for each prompt
its own, and they read that prompt and its answer: so an answer depends on no other prompt of its batch and no padding.

An answer ends

* at an end token: those of the generation_config, and the tokenizer's;
* at a stop text: the prompt's, or the generation_config's ``stop_strings``;
* after the prompt's ``max_new_tokens``, whatever length the generation_config names.

Its text has no special tokens, and nothing from a stop text on. What a generation_config asks for that is not greedy
search - beams, guidance and the like - is left out, and said.
"""

from __future__ import annotations

import copy
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from .placement import device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import torch

    from ..harness.contracts import Prompt

    Ids = Sequence[int]
    Change = Callable[[torch.Tensor, Sequence[int], Sequence[Ids]], torch.Tensor]
    """(logits [n, vocabulary], which n prompts they are of, the answers to all prompts so far) -> logits."""

CHOICES = ("checkpoint", "bare")
"""By the checkpoint's generation_config; or by the logits as they are: of the generation_config, only end tokens."""

_FOLLOWED = (
    "repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "bad_words_ids", "sequence_bias", "min_length", "min_new_tokens", "forced_bos_token_id", "forced_eos_token_id",
    "suppress_tokens", "begin_suppress_tokens", "exponential_decay_length_penalty", "remove_invalid_values",
    "renormalize_logits", "watermarking_config",
)  # fmt: skip
"""Settings that the library makes processors of in greedy search."""
_NOT_GREEDY = (
    "num_beams", "num_beam_groups", "num_return_sequences", "constraints", "force_words_ids", "penalty_alpha",
    "dola_layers", "guidance_scale", "prompt_lookup_num_tokens", "assistant_early_exit", "use_mtp", "token_healing",
    "max_time",
)  # fmt: skip
"""Settings of other searches, and of a clock; off where they are missing, false, 0 or 1."""


class Decoding:
    """How the answers of one checkpoint are decoded.

    Args:
        model: The library's model; its ``generation_config`` is read, and stays as it is.
        tokenizer: Its own.
        how: One of `CHOICES`.
        where: Which checkpoint, for messages.

    Attributes:
        eos: Ids of tokens that end an answer.
        notes: What of the generation_config was left out, in words.

    Raises:
        UserError: The library refuses a setting.
    """

    def __init__(self, model: Any, tokenizer: Any, how: str, where: str) -> None:
        asked = {name: value for name, value in vars(model.generation_config).items() if value is not None}
        ends = asked.get("eos_token_id", [])
        ends = [*([ends] if isinstance(ends, int) else ends), tokenizer.eos_token_id]
        self.eos = frozenset(end for end in ends if end is not None)
        self._model, self._tokenizer = model, tokenizer
        self._ends = {"eos_token_id": sorted(self.eos) or None, "pad_token_id": min(self.eos, default=None)}
        self._settings: dict[str, Any] = {}
        self._stops: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        if how == "checkpoint":
            stops = asked.get("stop_strings", ())
            self._settings = {name: asked[name] for name in _FOLLOWED if name in asked}
            self._stops = (stops,) if isinstance(stops, str) else tuple(stops)
            self.notes = _left_out(asked)
        self._changes = bool(self._settings) and self._are_processors(where)

    def around(self, model: Any) -> Decoding:
        """The same for a model of other weights."""
        other = copy.copy(self)
        other._model = model
        return other

    def change(self, prompts: Iterable[Ids], limits: Iterable[int]) -> Change | None:
        """Return what changes the logits of prompts, each by its own processors; ``None`` if nothing does.

        Args:
            prompts: Token ids of each, all that stock ``generate`` would be given: an image has as many as it fills.
            limits: Tokens of each answer, at most.
        """
        if not self._changes:
            return None
        import torch

        rows = list(prompts)
        processors = [self._processors(ids, limit) for ids, limit in zip(rows, limits, strict=True)]

        def changed(logits: torch.Tensor, places: Sequence[int], answers: Sequence[Ids]) -> torch.Tensor:
            scores = []
            for row, place in enumerate(places):
                ids = torch.tensor([[*rows[place], *answers[place]]], device=logits.device)
                scores.append(processors[place](ids, logits[row : row + 1].float()))
            return torch.cat(scores)

        return changed

    def ended(self, answer: Ids, prompt: Prompt) -> bool:
        """Tell whether an answer without end token is over: it is long enough, or at a stop text."""
        if len(answer) >= prompt.max_new_tokens:
            return True
        stops = (*prompt.stop, *self._stops)
        if not stops or not answer:
            return False
        # A stop text may begin in one token and end in another, so the whole answer is read each time. One that is a
        # special token is in no text.
        text, last = self._spoken(answer), self._tokenizer.convert_ids_to_tokens(answer[-1])
        return any(stop in text or stop == last for stop in stops)

    def text(self, answer: Ids, prompt: Prompt) -> str:
        """Return the text of an answer: without special tokens, up to the first stop text."""
        text = self._spoken(answer)
        ends = [text.find(stop) for stop in (*prompt.stop, *self._stops) if stop in text]
        return text[: min(ends, default=len(text))]

    def generate(self, inputs: Mapping[str, torch.Tensor], prompts: Sequence[Prompt]) -> list[list[int]]:
        """Have the library's own ``generate`` answer prompts by the same rule; return the answers' token ids.

        Args:
            inputs: What it is given, with ``input_ids`` and ``attention_mask`` [B, n], padded on the left.
            prompts: Of which the inputs were made.
        """
        import torch
        from transformers import GenerationConfig

        limits = [prompt.max_new_tokens for prompt in prompts]
        ids, masks = inputs["input_ids"], inputs["attention_mask"].bool()
        change = self.change((row[mask].tolist() for row, mask in zip(ids, masks, strict=True)), limits)

        def said(ids: torch.Tensor) -> list[list[int]]:
            return ids[:, inputs["input_ids"].shape[1] :].tolist()

        def over(ids: torch.Tensor, _: object, **__: object) -> torch.Tensor:
            ends = [self.ended(answer, prompt) for answer, prompt in zip(said(ids), prompts, strict=True)]
            return torch.tensor(ends, device=ids.device)

        config = GenerationConfig(**self._ends, max_new_tokens=max(limits))
        processors = [lambda ids, logits: change(logits, range(len(ids)), said(ids))] if change else []
        # What the given config does not say, the library takes from the model's own.
        own, self._model.generation_config = self._model.generation_config, config
        try:
            ids = self._model.generate(
                **inputs, generation_config=config, stopping_criteria=[over], logits_processor=processors
            )
        finally:
            self._model.generation_config = own
        answers = [list(takewhile(lambda token: token not in self.eos, answer)) for answer in said(ids)]
        return [answer[:limit] for answer, limit in zip(answers, limits, strict=True)]

    def _spoken(self, ids: Ids) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _processors(self, ids: Ids, limit: int) -> Any:
        """Return the library's logits processors for one prompt and an answer of ``limit`` tokens."""
        from transformers import GenerationConfig

        from . import installed

        config = GenerationConfig(**self._settings, **self._ends, max_length=len(ids) + limit)
        return installed.logits_processors(self._model, config, ids)

    def _are_processors(self, where: str) -> bool:
        """Whether the settings change logits, tried once."""
        import torch

        try:
            processors = self._processors([0], 1)
            vocabulary, device = self._model.get_input_embeddings().weight.shape[0], device_of(self._model)
            processors(torch.tensor([[0]], device=device), torch.zeros(1, vocabulary, device=device))
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"its generation_config cannot be followed: {' '.join(str(error).split())[:300]}",
                where=where,
                todo="fix generation_config.json, or choose decoding=bare",
            ) from error
        return bool(processors)


def _left_out(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader must know of settings that are not followed."""
    names = [name for name in _NOT_GREEDY if asked.get(name) is True or asked.get(name) not in (None, False, 0, 1)]
    return (f"decoded greedily, without the {', '.join(names)} of its generation_config",) if names else ()
