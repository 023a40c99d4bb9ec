"""One rule of decoding: what a checkpoint's generation_config asks of greedy search is done as the library does it."""

from __future__ import annotations

import copy
import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = "input: a b\noutput: b a\n\n"
PROMPTS = [
    Prompt(START + text, max_new_tokens=9) for text in ("input: apple pie", "input: e", "ab ab ab ab", "one two")
]
SETTINGS: dict[str, Callable[[list[int]], dict[str, Any]]] = {
    "repetition": lambda said: {"repetition_penalty": 1.5},
    "repetition of the prompt": lambda said: {"encoder_repetition_penalty": 1.5},
    "n-grams": lambda said: {"no_repeat_ngram_size": 2, "sequence_bias": [[[said[0]], 99.0]]},
    "n-grams of the prompt": lambda said: {"encoder_no_repeat_ngram_size": 1},
    "suppressed": lambda said: {"suppress_tokens": said[:3]},
    "suppressed first": lambda said: {"begin_suppress_tokens": said},
    "banned": lambda said: {"bad_words_ids": [said[:1], said[1:3]]},
    "biased": lambda said: {"sequence_bias": [[[said[0]], -9.0], [said[1:3], -9.0], [[7], 1.0]]},
    "least new": lambda said: {"min_new_tokens": 6, "eos_token_id": [0, *said[:4]]},
    "least": lambda said: {"min_length": 44, "eos_token_id": [0, *said[:4]]},
    "decay": lambda said: {"exponential_decay_length_penalty": [2, 9.5]},
    "forced end": lambda said: {"forced_eos_token_id": 0},
    "forced end that does not exist": lambda said: {"forced_eos_token_id": 5},
    "several ends": lambda said: {"eos_token_id": [0, *said[2:4]]},
    "several": lambda said: {"repetition_penalty": 1.3, "suppress_tokens": said[:2], "min_new_tokens": 3},
}
COUNT_PADDING = ("least", "repetition of the prompt")
"""Where the library itself takes padding for a part of the prompt, so that its answers change with the batch."""


@pytest.fixture
def asking(language: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Family and settings -> the same checkpoint, whose generation_config asks for them."""

    def made(family: str, **settings: Any) -> Path:
        folder = tmp_path / family
        folder.mkdir(exist_ok=True)
        for file in language(family).iterdir():
            if not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)
        (folder / "generation_config.json").unlink()
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0, **settings}))
        return folder

    return made


def stock(model: Any, folder: Path, tokenizer: Any, batch: list[Prompt]) -> list[list[int]]:
    """What the library's own ``generate`` makes of prompts, padded on the left; without end tokens."""
    rows = [tokenizer(prompt.text).input_ids for prompt in batch]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    model.generation_config = hf.GenerationConfig.from_pretrained(folder)
    ends = model.generation_config.eos_token_id
    said = model.generate(ids, attention_mask=mask, max_new_tokens=9, do_sample=False, pad_token_id=0)
    ends = {ends} if isinstance(ends, int) else set(ends)
    return [list(takewhile(lambda token: token not in ends, row)) for row in said[:, longest:].tolist()]


@pytest.mark.filterwarnings("ignore:Unfeasible length constraints")
@pytest.mark.parametrize("family", ["llama", "pythia"])
def test_what_a_generation_config_asks_of_greedy_search_is_done_as_in_the_library(language, asking, tokenizer, family):
    library = hf.AutoModelForCausalLM.from_pretrained(language(family)).eval()
    before = stock(library, language(family), tokenizer, PROMPTS)
    said = list(dict.fromkeys(token for ids in before for token in ids))
    for name, settings in SETTINGS.items():
        folder = asking(family, **settings(said))
        model = HFCausalLM(str(folder))
        answers = model.generate(PROMPTS)
        alone = [stock(library, folder, tokenizer, [prompt])[0] for prompt in PROMPTS]
        assert answers == tokenizer.batch_decode(alone), name
        assert alone != before, f"{name}: it changes nothing"
        assert len(set(map(tuple, alone))) > 1, name
        if name not in COUNT_PADDING:
            assert alone == stock(library, folder, tokenizer, PROMPTS), name
    assert answers == [model.generate([prompt])[0] for prompt in PROMPTS]
    assert HFCausalLM(str(folder), decoding="bare").generate(PROMPTS) == tokenizer.batch_decode(before)


def letters(model: Any) -> None:
    """Let it say letters only, in a tokenizer of bytes."""
    small = [ascii_byte - 32 for ascii_byte in b"abcdefghijklmnopqrstuvwxyz"]
    others = [token for token in range(model.config.vocab_size) if token not in small]
    model.lm_head.weight.data[others] = 0


def test_an_answer_ends_at_the_tokenizers_own_end_token_too(own_language, tokenizer):
    """Checkpoints that were finetuned to ChatML often name it in the tokenizer only."""
    folder = str(own_language("llama", letters))
    [whole] = HFCausalLM(folder).generate([Prompt(START, max_new_tokens=9)])
    assert whole.isalpha()
    other = copy.deepcopy(tokenizer)
    other.eos_token = whole[3]
    other.save_pretrained(folder)
    for decoding in ("checkpoint", "bare"):
        assert HFCausalLM(folder, decoding=decoding).generate([Prompt(START)]) == [whole[: whole.index(whole[3])]]


def test_stop_texts_of_the_checkpoint_end_an_answer_and_so_do_special_tokens(own_language, tokenizer):
    folder = own_language("llama", letters)
    [whole] = HFCausalLM(str(folder)).generate([Prompt(START, max_new_tokens=9)])
    settings = {"eos_token_id": 0, "stop_strings": [whole[3:5]]}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    assert HFCausalLM(str(folder)).generate([Prompt(START)]) == [whole[: whole.index(whole[3:5])]]
    special = copy.deepcopy(tokenizer)
    special.add_special_tokens({"additional_special_tokens": [whole[2]]})
    special.save_pretrained(folder)
    model = HFCausalLM(str(folder), decoding="bare")
    [longer] = model.generate([Prompt(START, max_new_tokens=9)])
    assert longer == whole.replace(whole[2], "")
    assert model.generate([Prompt(START, stop=(whole[2],))]) == [whole[: whole.index(whole[2])]]


def test_what_is_not_greedy_search_is_left_out_and_said(asking, language):
    plain = HFCausalLM(str(language("llama")))
    assert plain.notes == ()
    others = {"num_beams": 4, "penalty_alpha": 0.6, "top_k": 4, "guidance_scale": 1.5, "max_time": 0.5, "max_length": 3}
    folder = asking("llama", do_sample=True, temperature=0.3, num_return_sequences=1, max_new_tokens=2, **others)
    model = HFCausalLM(str(folder))
    assert model.generate(PROMPTS) == plain.generate(PROMPTS)
    [note] = model.notes
    assert (
        note
        == "decoded greedily, without the num_beams, penalty_alpha, guidance_scale, max_time of its generation_config"
    )


@pytest.mark.parametrize(
    ("setting", "value"), [("bad_words_ids", [[999]]), ("repetition_penalty", -1.0), ("forced_eos_token_id", 999)]
)
def test_a_setting_that_cannot_be_followed_is_refused_in_one_line(asking, setting, value):
    folder = str(asking("llama", **{setting: value}))
    with pytest.raises(UserError, match=r"its generation_config cannot be followed: .*choose decoding=bare"):
        HFCausalLM(folder)
    assert HFCausalLM(folder, decoding="bare").generate(PROMPTS[:1])
    with pytest.raises(UserError, match="unknown decoding 'beams'; choose from checkpoint, bare"):
        HFCausalLM(folder, decoding="beams")
