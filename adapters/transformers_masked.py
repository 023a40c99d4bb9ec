"""Any masked language model of the transformers library, by local path or hub id: which label word stands at the mask.

Prompts are tokenised piece by piece and joined as in LM-BFF (Gao et al., 2021; dissertation A.6.3).
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.contracts import WordLogits
from ..harness.errors import UserError
from ..harness.prefill_cost import PrefillCost
from .causal_checkpoint import context_of, fingerprint
from .loading import LOCAL, check_choices, check_whole, checkpoint, load_tokenizer, loading
from .prefill_flops import PrefillFlops
from .transformers_meta import blueprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from ..harness.contracts import FloatArray, MaskedPrompt, Piece

_FILES = (
    "*config.json", "model*.safetensors*", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt", "spm.model",
)  # fmt: skip
_CHOICES = {"dtype": ("float32", "bfloat16", "float16"), "attention": ("auto", "sdpa", "eager")}


class Encoded(NamedTuple):
    """A prompt as a model reads it.

    Attributes:
        ids: Its tokens.
        mask: Place of the mask among them.
        words: Id of each label word.
        cut: Tokens that it lost because it was too long.
    """

    ids: list[int]
    mask: int
    words: list[int]
    cut: int


class HFMaskedLM:
    """A model that ``AutoModelForMaskedLM`` loads: BERT, RoBERTa, DeBERTa, ModernBERT and many more.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id such as ``FacebookAI/roberta-large``.
        revision: Branch, tag or commit of a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs.
        attention: ``sdpa``, ``eager``, or ``auto``: the first of these that the architecture has.

    Attributes:
        module: Takes what `prepare` returns; returns the logits at the mask, [n, vocabulary].
        convention: How ``flops`` are counted.

    Raises:
        UserError: The checkpoint cannot be found, is not a masked language model or is not whole, its tokenizer has no
            mask token, or an argument is unknown.
    """

    blueprint = staticmethod(blueprint_of)

    def __init__(
        self,
        path: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        attention: str = "auto",
    ) -> None:
        self._where = f"hf-mlm:{path}"
        check_choices({"dtype": dtype, "attention": attention}, _CHOICES, self._where)
        folder = checkpoint(path, revision, _FILES)
        with loading(path, folder):
            network, self.tokenizer = _load(folder, dtype, attention, self._where)
            from . import installed

            attends = installed.attention_of(network.config)
        self.convention: Mapping[str, str] = {"phase": "prefill", "counter": "fvcore", "attention": attends}
        self._begin, self._end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        self._context = _context(network, self.tokenizer)
        self._take(network.to(device).eval())

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        return fingerprint(path, revision)

    @property
    def network(self) -> torch.nn.Module:
        """The library's model."""
        network: torch.nn.Module = self.module.network
        return network

    def with_network(self, network: torch.nn.Module) -> HFMaskedLM:
        """The same adapter around another network of the same kind; this one stays as it is."""
        other = copy.copy(self)
        other._take(network.eval())
        return other

    @property
    def uncounted(self) -> str:
        """Why logits come without FLOPs; empty if they have them."""
        return self._flops.refused

    def encode(self, prompt: MaskedPrompt) -> Encoded:
        """Tokenise a prompt: the first special token, the pieces with the mask between them, a separator.

        What is longer than the prompt or the model allows is cut off at the end, the separator included. Where that
        would take the mask, the pieces before it lose their end instead.

        Raises:
            UserError: A label word is not one token.
        """
        before = [token for piece in prompt.before for token in self._ids(piece)]
        after = [token for piece in prompt.after for token in self._ids(piece)]
        begin, end = ([] if token is None else [token] for token in (self._begin, self._end))
        room = min(prompt.max_tokens, self._context)
        kept = before[: max(0, room - len(begin) - 1)]
        whole = [*begin, *kept, self.tokenizer.mask_token_id, *after, *end]
        read = whole[:room]
        cut = len(before) - len(kept) + len(whole) - len(read)
        return Encoded(read, len(begin) + len(kept), [self._word(word) for word in prompt.words], cut)

    def prepare(self, inputs: Sequence[MaskedPrompt]) -> Mapping[str, torch.Tensor]:
        """Return ``input_ids`` and ``attention_mask`` [n, length], padded at the end, and ``mask`` [n], its places."""
        return self.padded([self.encode(prompt) for prompt in inputs])

    def fill_mask(self, prompts: Sequence[MaskedPrompt]) -> list[tuple[float, ...]]:
        """Return for each prompt the logits of its label words at the mask.

        Raises:
            UserError: A label word is not one token.
        """
        return [found.logits for found in self.filled(prompts)]

    def filled(self, prompts: Sequence[MaskedPrompt]) -> list[WordLogits]:
        """Return what `fill_mask` does, with the FLOPs and the tokens of each prompt."""
        import torch

        rows = [self.encode(prompt) for prompt in prompts]
        with torch.inference_mode():
            logits = self.module(**self.padded(rows)).float().cpu()
        return [
            WordLogits(tuple(said[row.words].tolist()), self._cost(row)) for row, said in zip(rows, logits, strict=True)
        ]

    def prefill(self, prompts: Sequence[MaskedPrompt]) -> Callable[[], object]:
        """Return what runs these prompts once."""
        import torch

        inputs = self.prepare(prompts)

        def run() -> object:
            with torch.inference_mode():
                return self.module(**inputs)

        return run

    def first_states(self, prompts: Sequence[MaskedPrompt], words: Sequence[int]) -> FloatArray:
        """Return the last hidden state of the first token, with a label word in the place of the mask.

        Args:
            prompts: n of them.
            words: Position among its label words of the one that is put into each prompt.

        Returns:
            float32 [n, width]: the features of task selection (dissertation A.6.4).
        """
        import torch

        rows = [self.encode(prompt) for prompt in prompts]
        inputs = dict(self.padded(rows))
        places = inputs.pop("mask")
        true = [row.words[word] for row, word in zip(rows, words, strict=True)]
        inputs["input_ids"][torch.arange(len(rows)), places] = torch.tensor(true, device=places.device)
        with torch.inference_mode():
            states: FloatArray = self.network.base_model(**inputs).last_hidden_state[:, 0].float().cpu().numpy()  # type: ignore[operator]
        return states

    def _take(self, network: torch.nn.Module) -> None:
        self.module = at_mask(network)
        self._flops = PrefillFlops(self.module)

    def _ids(self, piece: Piece) -> list[int]:
        ids: list[int] = self.tokenizer(piece.text, add_special_tokens=False).input_ids if piece.text else []
        return ids[: piece.limit]

    @functools.cache  # noqa: B019 - as many entries as there are label words
    def _word(self, word: str) -> int:
        ids: list[int] = self.tokenizer(f" {word}", add_special_tokens=False).input_ids
        if len(ids) != 1 or ids[0] == self.tokenizer.unk_token_id:
            tokens = ", ".join(self.tokenizer.convert_ids_to_tokens(ids))
            what = f"the label word {word!r} is not one token but {tokens or 'none'}"
            raise UserError(what, where=self._where, todo="choose words that its tokenizer has whole")
        return ids[0]

    def padded(self, rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """Return what `prepare` does, of prompts that are tokenised."""
        import torch

        device: Any = self.network.device
        filler = 0 if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id
        ids = torch.full((len(rows), max(len(row.ids) for row in rows)), filler)
        read = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row.ids)] = torch.tensor(row.ids)
            read[place, : len(row.ids)] = 1
        masks = torch.tensor([row.mask for row in rows])
        return {"input_ids": ids.to(device), "attention_mask": read.to(device), "mask": masks.to(device)}

    def _cost(self, row: Encoded) -> PrefillCost:
        length = len(row.ids)
        flops = self._flops.of(length, 0, lambda: self.padded([row]))
        return PrefillCost(length, cut_tokens=row.cut, flops=flops)


def at_mask(network: torch.nn.Module) -> Any:
    """Wrap a masked language model so that its head runs at the mask alone."""
    import torch

    class AtMask(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network: Any = network

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            def only_mask(_module: Any, _args: Any, output: Any) -> Any:
                rows = torch.arange(len(mask), device=mask.device)
                output.last_hidden_state = output.last_hidden_state[rows, mask][:, None]
                return output

            hook = self.network.base_model.register_forward_hook(only_mask)
            try:
                logits: torch.Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask).logits
            finally:
                hook.remove()
            return logits[:, 0]

    AtMask.__name__ = type(network).__name__  # as messages call it
    return AtMask().eval()


def _load(folder: Any, dtype: str, attention: str, where: str) -> tuple[Any, Any]:
    """Return the network and the tokenizer of a checkpoint."""
    import torch
    import transformers

    from . import installed

    config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
    if not installed.builds("AutoModelForMaskedLM", config) or getattr(config, "is_encoder_decoder", False):
        raise UserError(f"a {config.model_type} is not a masked language model", where=where, todo="name one")
    tokenizer = load_tokenizer(folder, where)
    if tokenizer.mask_token_id is None:
        raise UserError("its tokenizer has no mask token", where=where, todo="name a masked language model")
    network, report = transformers.AutoModelForMaskedLM.from_pretrained(
        folder, config=config, use_safetensors=True, dtype=getattr(torch, dtype), output_loading_info=True,
        attn_implementation=None if attention == "auto" else attention, ignore_mismatched_sizes=True, **LOCAL,
    )  # fmt: skip
    check_whole(report, network, where)
    return network, tokenizer


def _context(network: Any, tokenizer: Any) -> int:
    """Tokens that a model can read: RoBERTa's positions begin after that of its padding."""
    embeddings = getattr(network.base_model, "embeddings", None)
    padding = getattr(getattr(embeddings, "position_embeddings", None), "padding_idx", None)
    positions = context_of(network.config, tokenizer) - (0 if padding is None else padding + 1)
    return min(positions, int(tokenizer.model_max_length))
