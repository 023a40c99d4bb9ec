"""What ``tiny-icl`` is made of: a tokenizer whose pieces come in three cases, and an untrained Llama."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

GIVEN, ANSWER, END = "input:", "output:", "\n\n"
CONTEXT = 512
_ROLES = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
_SPLIT = r"\n\n|\n| ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]|\s"
_BLANK, _LINE = "Ġ", "Ċ"
"""A blank and a line feed as byte-level tokenizers write them."""
_SPREAD = 0.06
"""Standard deviation of the weights at the start."""


def make_tokenizer(words: Iterable[str], merges: int = 500) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer; it reads every text, and the words that it was made of in few pieces.

    A word is cut the same way in lower, title and upper case, and with or without a blank before it. Digits stand one
    by one; ``input:``, ``output:`` and a blank line are one piece each.

    Args:
        words: In lower case; a word that occurs often counts often.
        merges: How many pairs of pieces become one.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [(_LINE, _LINE), *_in_all_cases(_learned(words, merges))]
    letters = dict.fromkeys("".join(pair) for pair in pairs[1:])
    signs = [sign for sign in alphabet if sign.isascii() and not sign.isdigit()]
    pairs += [(_BLANK, piece) for piece in (*letters, *signs)]
    pieces = dict.fromkeys([*_ROLES.values(), GIVEN, ANSWER, *alphabet, *("".join(pair) for pair in pairs)])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in _ROLES.values()])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in (GIVEN, ANSWER)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **_ROLES, padding_side="left", clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def make_model(tokenizer: PreTrainedTokenizerFast, **differs: Any) -> LlamaForCausalLM:
    """Return the untrained model.

    Args:
        tokenizer: Gives the vocabulary.
        differs: What differs in the config.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**{
        "vocab_size": len(tokenizer), "hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": CONTEXT,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id, "initializer_range": _SPREAD, "tie_word_embeddings": True, **differs,
    })  # fmt: skip
    model = LlamaForCausalLM(config)
    _start(model, tokenizer)
    return model


def _start(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make the twins of a piece alike, and every block's say smaller, the more blocks there are.

    A piece starts as the sum of what it spells, of its case, and of the blank before it.
    """
    import torch

    embeddings = model.get_input_embeddings().weight
    width = embeddings.shape[1]
    share = (2 * len(model.model.layers)) ** -0.5
    parts: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for piece, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
            spelled = piece.removeprefix(_BLANK)
            case = "upper" if spelled.isupper() else "title" if spelled.istitle() else "lower"
            names = [spelled.lower(), f" {case}", f" {spelled != piece}"]
            for name in names:
                parts.setdefault(name, torch.randn(width) * width**-0.5)
            embeddings[number] = sum(parts[name] for name in names)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(share)
            layer.mlp.down_proj.weight.mul_(share)


def _learned(words: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The most frequent pairs of pieces of words, as byte-pair encoding finds them."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    letters = [chr(number) for number in range(ord("a"), ord("z") + 1)]
    trainer = trainers.BpeTrainer(
        vocab_size=len(letters) + count, initial_alphabet=letters, limit_alphabet=len(letters), show_progress=False
    )
    tokenizer.train_from_iterator(words, trainer)
    found = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(left, right) for left, right in found]


def _in_all_cases(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    seen = set()
    for left, right in pairs:
        for twin in ((left, right), (left.title(), right), (left.upper(), right.upper())):
            if twin not in seen:
                seen.add(twin)
                yield twin
