"""Any causal language model of the transformers library, by local path or hub id: answers and log-likelihoods.

A text is given to the model as it stands: prompts show by example what is wanted, as base models need it. With ``chat``
it is one message of the user's, demonstrations included, in the checkpoint's own chat template, and the answer is the
assistant's. What all prompts of a batch begin with - the demonstrations of an in-context task - runs once.
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..harness.contracts import Answer, Likelihood
from ..harness.errors import BadSample, UserError
from ..harness.prefill_cost import PrefillCost
from . import conversations, live_adapters
from .causal_checkpoint import LanguageCheckpoint, fingerprint, load
from .placement import device_of
from .transformers_meta import blueprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from ..harness.contracts import Prompt
    from ..harness.transformer import Architecture
    from .causal_reading import Reading, Row


class _Window(NamedTuple):
    """Ids that are read at once, of which the last ``new`` are scored, and how many before them were cut off."""

    ids: Row
    new: int
    cut: int = 0


class HFCausalLM:
    """A model that ``AutoModelForCausalLM`` loads. `decoding` says how its answers are decoded.

    A prompt that leaves no room for its answer loses tokens at its beginning, as in lm-eval; their number is
    in its cost as ``cut_tokens``.

    Args:
        path: Folder that ``save_pretrained`` wrote, GGUF file, or hub id such as ``EleutherAI/pythia-160m``.
        revision: Branch, tag or commit of a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs, unless it is split.
        device_map: Split the model over devices by accelerate: ``auto``, ``balanced``, ``balanced_low_0``,
            ``sequential``, or a JSON file: module -> number of a GPU, ``cpu`` or ``disk``.
        offload_folder: Where weights go that are on the disk.
        attention: ``sdpa``, ``eager``, or ``auto``: the first of these that the architecture has.
        decoding: ``checkpoint``: greedy as its generation_config asks; ``bare``: by the logits as they are.
        chat: Put each text into the checkpoint's chat template.
        system: A system prompt before it; empty for whatever the template itself says.
        share: Run what prompts begin with in common once. Answers are the same without it.

    Attributes:
        module: The library's model.
        network: That too.
        chat: Whether it puts texts into its chat template.
        chat_template: As it is written; ``None`` if it has none.
        convention: How ``flops`` are counted.
        notes: What a reader of its answers must know.

    Raises:
        UserError: The checkpoint cannot be found, is not a causal language model or is not whole, or an argument is
            unknown.
    """

    blueprint = staticmethod(blueprint_of)

    def __init__(  # noqa: PLR0913 - one parameter is one option
        self,
        path: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        device_map: str = "",
        offload_folder: str = "",
        attention: str = "auto",
        decoding: str = "checkpoint",
        chat: bool = False,
        system: str = "",
        share: bool = True,
    ) -> None:
        if system and not chat:
            raise UserError("a system prompt is a part of a chat", where=f"hf-lm:{path}", todo="add chat=true")
        options = {"dtype": dtype, "attention": attention, "decoding": decoding}
        options |= {"device_map": device_map, "offload_folder": offload_folder}
        self._path, self._share = path, share
        self._take(load(path, revision, device, **options))
        self.notes = self._loaded.notes
        self.chat, self._system = chat, system
        self.chat_template = getattr(self._loaded.tokenizer, "chat_template", None)
        if chat:
            self._put("")  # which refuses a checkpoint whose template is missing or has no place for a system prompt
            self.notes += conversations.notes(self._loaded.tokenizer)

        self.convention: Mapping[str, str] = {
            "phase": "prefill", "counter": "closed-form", "attention": self._loaded.attention
        }  # fmt: skip

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        return fingerprint(path, revision)

    def with_network(self, network: Any) -> Self:
        """The same model around another network of the same kind; this one stays as it is."""
        other = copy.copy(self)
        other._take(self._loaded.with_model(network))
        return other

    def _take(self, loaded: LanguageCheckpoint) -> None:
        """Become a model that runs a checkpoint."""
        from .causal_batches import Batches

        self._loaded, self.module, self.network = loaded, loaded.model, loaded.model
        self._batches = Batches(loaded.reader, loaded.abilities, share=self._share)
        self._live = live_adapters.targets(live_adapters.shapes(loaded.model))

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return one answer per prompt, as the model goes on: without special tokens, up to the first stop text."""
        return [answer.text for answer in self.answer(prompts)]

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Return what `generate` does, with the FLOPs and the tokens of each prompt, shared or not."""
        import torch

        rows = [self._encoded(prompt) for prompt in prompts]
        answers = [Answer("")] * len(prompts)
        with torch.inference_mode():
            opened = self._batches.opened([ids for ids, _ in rows], [prompt.max_new_tokens for prompt in prompts])
            for places, logits, reading in opened:
                asked, read = [prompts[place] for place in places], [rows[place][0] for place in places]
                said = self._said(asked, read, logits, reading)
                for place, ids in zip(places, said, strict=True):
                    text = self._loaded.decoding.text(ids, prompts[place])
                    answers[place] = Answer(text, self._cost(*rows[place]))
        return answers

    def prefill(self, prompts: Sequence[Prompt]) -> Callable[[], object]:
        """Return what runs these prompts once, sharing nothing and leaving nothing out."""
        import torch

        rows = [self._encoded(prompt)[0] for prompt in prompts]

        def run() -> object:
            with torch.inference_mode():
                return self._batches.logits(rows, [1] * len(rows), whole=True)

        return run

    def loglikelihood(self, pairs: Sequence[tuple[str | None, str]]) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation of its context, and whether greedy decoding would say it.

        Blanks at the end of a context are read as the beginning of the continuation, as in lm-eval. An empty context
        is the tokenizer's first token, or its last. A text without a context, not even an empty one, is read whole
        however long it is: in windows of the model's context, each token predicted once.

        Args:
            pairs: (context or None, continuation), the continuation not empty.
        """
        return [(found.logprob, found.greedy) for found in self.likelihoods(pairs)]

    def likelihoods(self, pairs: Sequence[tuple[str | None, str]]) -> list[Likelihood]:
        """Return what `loglikelihood` does, with the FLOPs and the tokens of each pair."""
        import torch

        windows = [self._windows(text) if context is None else [self._pair(context, text)] for context, text in pairs]
        with torch.inference_mode():
            scored = iter(self._scored([window for those in windows for window in those]))
        found = []
        for those in windows:
            values = [next(scored) for _ in those]
            costs = [self._cost(window.ids[:-1], window.cut, window.new) for window in those]
            logprob = sum((value for value, _ in values), 0.0)
            flops = [cost.flops for cost in costs if cost.flops is not None]
            read, cut = sum(cost.text_tokens for cost in costs), sum(cost.cut_tokens for cost in costs)
            total = PrefillCost(read, cut_tokens=cut, flops=sum(flops) if flops else None)
            found.append(Likelihood(logprob, all(greedy for _, greedy in values), total))
        return found

    def _scored(self, windows: Sequence[_Window]) -> list[tuple[float, bool]]:
        """Log-probability of what is new in each window, and whether each token of it is the most probable."""
        import torch

        found = []
        rows, counts = [window.ids[:-1] for window in windows], [window.new for window in windows]
        for (ids, new, _), logits in zip(windows, self._batches.logits(rows, counts), strict=True):
            said = logits.float().log_softmax(dim=-1)
            wanted = torch.tensor(ids[-new:], device=said.device)
            greedy = bool((said.argmax(dim=-1) == wanted).all())
            found.append((said.gather(1, wanted[:, None]).sum().item(), greedy))
        return found

    @property
    def context(self) -> int:
        """Tokens that the model can read."""
        return self._loaded.context

    @functools.cached_property
    def _architecture(self) -> Architecture | None:
        from ..harness.measure.architecture import read_architecture

        try:
            return read_architecture(self.module.config.to_dict())
        except UserError:  # answers of an architecture without a closed form have no FLOPs
            return None

    @functools.cache  # noqa: B019 - as many entries as there are lengths of prompts and continuations
    def _flops(self, tokens: int, positions: int) -> int | None:
        from ..harness.execution import Execution
        from ..harness.measure.closed_form import COUNTED, prefill

        model = self._architecture
        if model is None or model.language is None:
            return None
        execution = Execution.full(model.language.stack, tokens)
        live = live_adapters.beside(self._live, tower=None, visual_tokens=0, blocks=execution, head=positions)
        return live.language + sum(op.flops for op in prefill(model, execution, COUNTED, head_positions=positions))

    def _cost(self, ids: Row, cut: int = 0, positions: int = 1) -> PrefillCost:
        """The cost of a prefill whose last ``positions`` positions go through the head."""
        return PrefillCost(len(ids), cut_tokens=cut, flops=self._flops(len(ids), positions))

    def _encoded(self, prompt: Prompt) -> tuple[Row, int]:
        """A prompt's ids, and how many were cut off."""
        if prompt.images:
            raise UserError(
                "a language model sees no images", where=f"hf-lm:{self._path}", todo="choose a model of images and text"
            )
        room = self.context - prompt.max_new_tokens
        if room < 1:
            raise UserError(
                f"it reads {self.context} tokens, and an answer of {prompt.max_new_tokens} leaves none for the prompt",
                where=f"hf-lm:{self._path}",
                todo="choose a model with a longer context, or ask for shorter answers",
            )
        ids = self._ids(self._put(prompt.text)) or self._start()
        return ids[-room:], max(0, len(ids) - room)

    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True) -> str:
        """Return messages of a conversation as the checkpoint's own chat template writes them.

        Args:
            messages: ``role`` and ``content`` of each.
            add_generation_prompt: The assistant's answer follows; else it goes on with the last message, its own.

        Raises:
            UserError: There is no template, or it takes no such messages.
        """
        return conversations.in_template(messages, self._loaded.tokenizer, reply=add_generation_prompt)

    def _put(self, text: str) -> str:
        """What the model reads of a text: that itself, or a chat."""
        return conversations.in_chat(text, self._loaded.tokenizer, self._system) if self.chat else text

    def _pair(self, context: str, continuation: str) -> _Window:
        """A context and its continuation, cut at the beginning; the continuation's ids are what is new.

        In a chat the context is the user's message, and the continuation, without the blank before it, begins the
        answer. As lm-eval has it, a token that spans the end of the context and the beginning of the continuation
        belongs to the context, which is tokenised alone.

        Raises:
            BadSample: No token is left to the continuation.
        """
        if self.chat and context:
            context, continuation = self._put(context), continuation.removeprefix(" ")
        blanks = len(context) - len(context.rstrip())
        if blanks:
            context, continuation = context[:-blanks], context[-blanks:] + continuation
        if context:
            before = self._ids(context)
            after = self._ids(context + continuation)[len(before) :]
        else:
            before, after = self._start(), self._ids(continuation, begin=False)
            if after[:1] == before and len(after) > 1:
                after = after[1:]
        if not after:
            raise BadSample(
                f"no token of the continuation {continuation!r} is separate from its context {context[-20:]!r}",
                where=f"hf-lm:{self._path}",
                todo="end the context elsewhere",
            )
        whole = [*before, *after]
        cut = max(0, len(whole) - self.context - 1)
        return _Window(whole[cut:], min(len(after), self.context), cut)

    def _windows(self, text: str) -> list[_Window]:
        """A text cut where the context ends; what of a window is not new is the context of the rest."""
        ids, width = self._ids(text), self.context
        cuts = list(range(0, len(ids), width))
        whole = self._start() + ids
        return [
            _Window(whole[max(0, end - width) : end + 1], end - cut)
            for cut in cuts
            for end in [min(cut + width, len(ids))]
        ]

    def _ids(self, text: str, *, begin: bool = True) -> list[int]:
        """Ids of a text that will go on: without the last token that some tokenizers end each text with.

        Args:
            text: Which may be empty.
            begin: Whether the first token that some tokenizers begin each text with comes before it.

        Raises:
            BadSample: The model has no embedding for one of them.
        """
        if not text:
            return []
        tokenizer = self._loaded.tokenizer
        ids = conversations.tokenize(text, tokenizer) if begin else tokenizer(text, add_special_tokens=False).input_ids
        if begin and self._ends_texts and ids != tokenizer(text, add_special_tokens=False).input_ids:
            ids = ids[:-1]
        unknown = max(ids, default=0)
        if unknown >= self._loaded.vocabulary:
            raise BadSample(
                f"{tokenizer.convert_ids_to_tokens(unknown)!r} is token {unknown} to its tokenizer, and the model has "
                f"{self._loaded.vocabulary}",
                where=f"hf-lm:{self._path}",
                todo="use the tokenizer that belongs to the model, or leave that token out",
            )
        return ids

    @functools.cached_property
    def _ends_texts(self) -> bool:
        last: bool = self._loaded.tokenizer("a").input_ids[-1] == self._loaded.tokenizer.eos_token_id
        return last

    def _start(self) -> list[int]:
        tokenizer = self._loaded.tokenizer
        first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        return [0 if first is None else first]

    def _said(
        self, prompts: Sequence[Prompt], rows: Sequence[Row], logits: torch.Tensor, reading: Reading | None
    ) -> list[list[int]]:
        """Ids of the answers to prompts that have been read."""
        from .causal_reading import left_padded
        from .greedy import greedy

        if reading is not None:
            return greedy(reading, logits, rows, prompts, self._loaded.decoding)
        whole = left_padded(rows, device_of(self.module))
        return self._loaded.decoding.generate({"input_ids": whole.ids, "attention_mask": whole.mask}, prompts)
