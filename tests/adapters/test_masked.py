"""Masked language models: stock logits at the mask, pieces joined as they are, and one line for what cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from adaptbench.adapters.transformers_masked import HFMaskedLM
from adaptbench.harness.contracts import MaskedPrompt, Piece
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.flops import count_flops
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.utils import logging

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40}
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
WORDS = "the film food was it great terrible okay . , ? Yes No and very slow good hot cold".split()
NAMES = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
KINDS = {
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**SIZES)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**SIZES, max_position_embeddings=24, pad_token_id=0)),
    "deberta": lambda: hf.DebertaForMaskedLM(
        hf.DebertaConfig(**SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"])
    ),
    "deberta-v2": lambda: hf.DebertaV2ForMaskedLM(
        hf.DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"], legacy=False)
    ),
    "modernbert": lambda: hf.ModernBertForMaskedLM(
        hf.ModernBertConfig(**SIZES, pad_token_id=0, local_attention=8, global_attn_every_n_layers=2)
    ),
}
SENTIMENT = ("great", "terrible", "okay")


def tokenizer(**names: str) -> Any:
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return hf.PreTrainedTokenizerFast(tokenizer_object=made, **{**NAMES, **names})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    logging.disable_progress_bar()
    made = {}
    for name, build in KINDS.items():
        torch.manual_seed(0)
        network = build().eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        made[name] = tmp_path_factory.mktemp("masked") / name
        network.save_pretrained(made[name])
        tokenizer().save_pretrained(made[name])
    return made


def prompt(text: str, *after: str, **options: Any) -> MaskedPrompt:
    return MaskedPrompt((Piece(text), Piece(" it was")), tuple(map(Piece, after or (".",))), SENTIMENT, **options)


PROMPTS = [
    prompt("the film was slow"),
    prompt("the food was hot and good"),
    prompt("cold"),
    prompt("the food", ",", " the film was very very slow ."),
]


@pytest.mark.parametrize("name", KINDS)
def test_logits_are_stock_alone_and_in_a_batch(name: str, folders: dict[str, Any]) -> None:
    model = HFMaskedLM(str(folders[name]))
    stock = hf.AutoModelForMaskedLM.from_pretrained(folders[name]).eval()
    ids = model.tokenizer.convert_tokens_to_ids(list(SENTIMENT))
    together = model.fill_mask(PROMPTS)
    for asked, said in zip(PROMPTS, together, strict=True):
        row = model.encode(asked)
        with torch.inference_mode():
            wanted = stock(input_ids=torch.tensor([row.ids])).logits[0, row.mask, ids].numpy()
        np.testing.assert_allclose(model.fill_mask([asked])[0], wanted, atol=1e-6)
        np.testing.assert_allclose(said, wanted, atol=2e-5)
        assert np.argmax(said) == np.argmax(wanted)
    assert np.ptp(np.array(together), axis=0).max() > 1e-3


@pytest.mark.parametrize("name", ["roberta", "deberta-v2"])
def test_each_prompt_costs_its_own_pass(name: str, folders: dict[str, Any]) -> None:
    model = HFMaskedLM(str(folders[name]))
    costs = [found.cost for found in model.filled(PROMPTS)]
    assert [cost.text_tokens for cost in costs] == [len(model.encode(one).ids) for one in PROMPTS]
    for asked, cost in list(zip(PROMPTS, costs, strict=True))[2:]:
        assert cost.flops == count_flops(model.module, model.prepare([asked]), phase="prefill").value
    assert model.uncounted == ""


def test_pieces_are_joined_as_they_are(folders: dict[str, Any]) -> None:
    model = HFMaskedLM(str(folders["roberta"]))
    row = model.encode(
        MaskedPrompt((Piece("the film was slow", 2), Piece("?")), (Piece(","), Piece(" good")), ("Yes",))
    )
    tokens = model.tokenizer.convert_ids_to_tokens(row.ids)
    assert tokens == ["<s>", "the", "film", "?", "<mask>", ",", "good", "</s>"]
    assert (tokens[row.mask], row.cut) == ("<mask>", 0)


def test_what_is_too_long_loses_its_end_but_not_the_mask(folders: dict[str, Any]) -> None:
    model = HFMaskedLM(str(folders["roberta"]))  # which has 24 places, of which its positions leave one unused
    late = model.encode(prompt("film " * 30))
    assert (len(late.ids), late.ids[late.mask], late.cut) == (23, 4, 36 - 23)
    cut = model.encode(prompt("the film", ".", "slow " * 9, max_tokens=8))
    assert model.tokenizer.convert_ids_to_tokens(cut.ids) == "<s> the film it was <mask> . slow".split()
    assert cut.cut == 9


def test_another_network_takes_the_place_of_the_first(folders: dict[str, Any]) -> None:
    model = HFMaskedLM(str(folders["bert"]))
    before = model.fill_mask(PROMPTS)
    network = hf.AutoModelForMaskedLM.from_pretrained(folders["bert"])
    torch.nn.init.normal_(network.cls.predictions.decoder.bias, std=1.0)
    assert model.with_network(network).fill_mask(PROMPTS) != before
    assert model.fill_mask(PROMPTS) == before


def test_first_states_are_those_of_the_sentence_with_its_word(folders: dict[str, Any]) -> None:
    model = HFMaskedLM(str(folders["bert"]))
    states = model.first_states(PROMPTS[:2], [1, 0])
    ids = torch.tensor([model.tokenizer.convert_tokens_to_ids("<s> the film was slow it was terrible . </s>".split())])
    with torch.inference_mode():
        wanted = model.network.bert(input_ids=ids).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(states[:1], wanted, atol=2e-5)


def test_what_it_cannot_be_is_said_in_a_line(folders: dict[str, Any], tmp_path: Any) -> None:
    model = HFMaskedLM(str(folders["bert"]))
    for word in ("lovely", "very good"):
        with pytest.raises(UserError, match=f"'{word}' is not one token"):
            model.fill_mask([MaskedPrompt((Piece("food"),), (), ("great", word))])
    KINDS["bert"]().save_pretrained(tmp_path / "mute")
    mute = {name: word for name, word in NAMES.items() if word != "<mask>"}
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer, **mute).save_pretrained(
        tmp_path / "mute"
    )
    with pytest.raises(UserError, match="has no mask token"):
        HFMaskedLM(str(tmp_path / "mute"))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    hf.LlamaForCausalLM(hf.LlamaConfig(**small, vocab_size=40)).save_pretrained(tmp_path / "llama")
    with pytest.raises(UserError, match="a llama is not a masked language model"):
        HFMaskedLM(str(tmp_path / "llama"))
    with pytest.raises(UserError, match="unknown dtype 'int8'"):
        HFMaskedLM(str(folders["bert"]), dtype="int8")
