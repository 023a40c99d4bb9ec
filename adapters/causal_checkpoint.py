"""Checkpoints of causal language models: what identifies one, and how it is loaded."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.errors import UserError
from . import decoding, gguf_files, placement
from .diagnosis import quantisation
from .loading import LOCAL, check_choices, check_whole, checkpoint, load_tokenizer, loading
from .multimodal_checkpoint import fingerprint as fingerprint_of_folder

if TYPE_CHECKING:
    from .causal_abilities import Abilities
    from .causal_reading import Reader

__all__ = ["LanguageCheckpoint", "context_of", "fingerprint", "load"]

_FILES = (
    "*config.json", "model*.safetensors*", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt", "chat_template*",
)  # fmt: skip
_CHOICES = {
    "dtype": ("float32", "bfloat16", "float16"),
    "attention": ("auto", "sdpa", "eager"),
    "decoding": decoding.CHOICES,
}
_LENGTHS = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length", "max_sequence_length",
    "seq_length", "context_length", "max_target_positions", "original_max_position_embeddings",
)  # fmt: skip
"""What configs call the number of tokens that a model can read."""
_ROPES = ("rope_parameters", "rope_scaling")
_UNBOUNDED = 10**9
"""Tokenizers that know no length state one above this."""
_UNKNOWN_CONTEXT = 2048
"""Of a model that states none, such as one without positions; as in lm-eval."""


class LanguageCheckpoint(NamedTuple):
    """A loaded checkpoint.

    Attributes:
        model: In evaluation mode, on its device.
        reader: Its forward pass.
        abilities: What it can do together.
        tokenizer: Its own.
        decoding: How its answers are decoded.
        context: Tokens that it can read.
        vocabulary: Ids that it knows: those below this. The tokenizer may have more.
        attention: What it computes attention by: ``sdpa``, ``eager`` or another.
        notes: What a reader of its answers must know.
    """

    model: Any
    reader: Reader
    abilities: Abilities
    tokenizer: Any
    decoding: decoding.Decoding
    context: int
    vocabulary: int
    attention: str
    notes: tuple[str, ...] = ()

    def with_model(self, model: Any) -> LanguageCheckpoint:
        """The same around a model of the same kind with other weights; what it can do is found out anew."""
        from .causal_abilities import abilities
        from .causal_reading import Reader

        reader = Reader(model.eval())
        able = abilities(reader, _ordinary(self.tokenizer, self.vocabulary), f"hf:{model.name_or_path}")
        return self._replace(model=model, reader=reader, abilities=able, decoding=self.decoding.around(model))


def fingerprint(path: str, revision: str | None = None) -> str:
    """Identify a checkpoint without loading it: hash of a file or of a folder's files, or the commit of a hub id."""
    return gguf_files.fingerprint(path) if gguf_files.is_gguf(path) else fingerprint_of_folder(path, revision)


def load(path: str, revision: str | None, device: str, **options: str) -> LanguageCheckpoint:
    """Load a checkpoint.

    Args:
        path: Folder that ``save_pretrained`` wrote, GGUF file, or hub id.
        revision: Branch, tag or commit of a hub id.
        device: Where it runs.
        options: ``dtype``, ``decoding``, and ``attention``: ``auto`` is the best that the architecture has;
            ``device_map`` and ``offload_folder`` as `placement.arguments` takes them.

    Raises:
        UserError: An option is unknown, or the checkpoint is of something else or lacks a part.
    """
    where = f"hf:{path}"
    check_choices(options, _CHOICES, where)
    split = placement.arguments(options.get("device_map", ""), options.get("offload_folder", ""), where)
    file = gguf_files.gguf_file(path) if gguf_files.is_gguf(path) else None
    folder = file.parent if file else checkpoint(path, revision, _FILES)
    named = {"gguf_file": file.name} if file else {}
    with gguf_files.loading(path) if file else loading(path, folder):
        import torch
        import transformers

        from . import installed

        config = transformers.AutoConfig.from_pretrained(folder, **named, **LOCAL)
        if not installed.builds("AutoModelForCausalLM", config) or getattr(config, "is_encoder_decoder", False):
            what = f"a {config.model_type} is not a causal language model"
            seeing = installed.builds("AutoModelForImageTextToText", config)
            raise UserError(what, where=where, todo=f"run it as hf-vlm:{path}" if seeing else "name one")
        attention = None if options["attention"] == "auto" else options["attention"]
        quantised, dtype = quantisation(config.to_dict()), getattr(torch, options["dtype"])
        placed = split or ({"device_map": {"": device}} if quantised else {})  # most of those cannot be moved
        tokenizer = load_tokenizer(folder, where, **named)
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, config=config, use_safetensors=True, dtype=dtype,
            attn_implementation=attention, output_loading_info=True, ignore_mismatched_sizes=True, **placed, **named,
            **LOCAL,
        )  # fmt: skip
        if not quantised:
            model = model if split else model.to(device)
        elif not split and getattr(model, "hf_quantizer", None) is None:  # dequantised, into types of its own
            model = model.to(dtype)
        notes = gguf_files.dequantised(file, options["dtype"]) if file else ()
    check_whole(report, model, where)
    from .causal_abilities import abilities
    from .causal_reading import Reader

    vocabulary = model.get_input_embeddings().weight.shape[0]
    reader, attends = Reader(model.eval()), installed.attention_of(model.config)
    able = abilities(reader, _ordinary(tokenizer, vocabulary), where)
    rule = decoding.Decoding(model, tokenizer, options["decoding"], where)
    notes = (*notes, *([f"weights quantised ({quantised})"] if quantised else ()), *able.notes, *rule.notes)
    context = context_of(config, tokenizer)
    return LanguageCheckpoint(model, reader, able, tokenizer, rule, context, vocabulary, attends, notes)


def context_of(config: Any, tokenizer: Any) -> int:
    """Return how many tokens a model can read, wherever that is stated.

    It is in the config of its text, in its own, among its rotations; or only the tokenizer states it.
    """
    parts = [part for own in (config.get_text_config(), config) for part in (own, *_ropes(own))]
    for part, name in itertools.product(parts, _LENGTHS):
        length = part.get(name) if isinstance(part, dict) else getattr(part, name, None)
        if isinstance(length, int) and length > 0:
            return length
    length = tokenizer.model_max_length
    return int(length) if 0 < length < _UNBOUNDED else _UNKNOWN_CONTEXT


def _ropes(config: Any) -> list[dict[str, Any]]:
    found = [getattr(config, name, None) for name in _ROPES]
    return [rope for rope in found if isinstance(rope, dict)]


def _ordinary(tokenizer: Any, vocabulary: int) -> list[int]:
    """Ids of tokens that the tokenizer makes of text, and not of a special one's name; all if there are none."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ids = [token for token in range(min(vocabulary, len(tokenizer))) if token not in special]
    return ids or list(range(vocabulary))
