"""Causal language models saved to disk: answers and log-likelihoods, shared, batched and one by one."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import transformers as hf
from adaptbench.adapters.causal_checkpoint import context_of
from adaptbench.adapters.prefix_cache import growable
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import BadSample, UserError
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

FAMILIES = (
    "llama", "llama-tied", "mistral", "mistral-short", "mistral-edge", "qwen2", "phi", "pythia", "gpt-neo",
    "gpt-neo-short", "gpt-neo-edge", "gpt2", "mpt",
)  # fmt: skip
SHOTS = "\n\n".join(f"input: {a} {b}\noutput: {b} {a}" for a, b in ("ab", "cd", "ef", "gh", "ij"))
QUESTIONS = ("input: apple pie", "input: é ü", "input: a", "input: one two three")


def prompts(*, shots: bool = True, **fields: Any) -> list[Prompt]:
    before = f"{SHOTS}\n\n" if shots else ""
    return [Prompt(f"{before}{question}", **{"max_new_tokens": 8, **fields}) for question in QUESTIONS]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_answers_as_its_prompts_alone_and_as_the_library(language, tokenizer, family):
    model = HFCausalLM(str(language(family)))
    asked = prompts()
    answers = model.generate(asked)
    assert answers == [model.generate([prompt])[0] for prompt in asked]
    assert answers == HFCausalLM(str(language(family)), share=False).generate(asked)
    for prompt, answer in zip(asked, answers, strict=True):
        ids = torch.tensor([tokenizer(prompt.text).input_ids])
        said = model.module.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
        assert answer == tokenizer.decode(said, skip_special_tokens=True)
    assert len(set(answers)) > 1


def test_what_is_kept_of_a_long_answer_grows_in_place(language, tokenizer):
    model = HFCausalLM(str(language("llama")))
    [answer] = model.generate([Prompt(SHOTS, max_new_tokens=120)])
    ids = torch.tensor([tokenizer(SHOTS).input_ids])
    said = model.module.generate(ids, max_new_tokens=120, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    assert answer == tokenizer.decode(said, skip_special_tokens=True)

    cache = hf.DynamicCache(config=model.module.config)
    states = torch.randn(3, 2, 80, 8)
    for layer in range(2):
        cache.update(states[..., :9, :], states[..., :9, :], layer)
    cache = growable(cache)
    places = []
    for end in range(10, 81):
        keys, values = cache.update(states[..., end - 1 : end, :], states[..., end - 1 : end, :], 1)
        places.append(keys.data_ptr())
        assert torch.equal(keys, states[..., :end, :])
        assert torch.equal(keys, values)
    assert len(set(places)) == 2
    cache.batch_select_indices(torch.tensor([2, 2, 0, 0]))
    keys, _ = cache.update(states[[2, 2, 0, 0], :, :1], states[[2, 2, 0, 0], :, :1], 1)
    assert torch.equal(keys, torch.cat([states, states[..., :1, :]], dim=2)[[2, 2, 0, 0]])


def test_an_answer_may_be_empty(language, own_language):
    nothing = own_language("llama", lambda model: model.model.norm.weight.zero_())  # all logits are equal: ends at once
    model = HFCausalLM(str(nothing))
    assert model.generate(prompts()) == [""] * len(QUESTIONS)
    [stop] = {HFCausalLM(str(language("llama"))).generate([Prompt(SHOTS)])[0][:1]}
    assert HFCausalLM(str(language("llama"))).generate([Prompt(SHOTS, stop=(stop,))]) == [""]


@pytest.mark.parametrize(("template", "start"), [("<s> $A", True), ("$A </s>", False), ("<s> $A </s>", True)])
def test_tokens_that_a_tokenizer_adds(language, own_language, tokenizer, template, start):
    """The first one is read; one that ends the text is not, and the answer goes on where the prompt ends."""
    adds = copy.deepcopy(tokenizer)
    adds.add_special_tokens({"bos_token": "<s>"})
    ids = [("<s>", adds.bos_token_id), ("</s>", adds.eos_token_id)]
    adds.backend_tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    model = HFCausalLM(str(own_language("llama", tokenizer=adds)))
    first = [adds.bos_token_id] if start else []
    for text, own in (("input: a b", tokenizer("input: a b").input_ids), ("a</s>", [*tokenizer("a").input_ids, 0])):
        read = torch.tensor([first + own])
        said = model.module.generate(read, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, read.shape[1] :]
        [answer] = model.answer([Prompt(text, max_new_tokens=8)])
        assert answer.text == tokenizer.decode(said, skip_special_tokens=True)
        assert answer.cost.text_tokens == read.shape[1]
    with torch.inference_mode():
        logits = model.module(torch.tensor([first + tokenizer("ab").input_ids])).logits[0, -2].log_softmax(-1)
    assert model.loglikelihood([("a", "b")])[0][0] == pytest.approx(
        logits[tokenizer("b").input_ids[0]].item(), rel=1e-4
    )


def test_what_prompts_begin_with_runs_once(language, monkeypatch):
    model = HFCausalLM(str(language("llama")))
    seen = []
    forward = model.module.forward
    monkeypatch.setattr(
        model.module, "forward", lambda **given: (seen.append(given["input_ids"].shape), forward(**given))[1]
    )
    model.generate(prompts(max_new_tokens=1))
    first, *others = seen
    assert first[0] == 1
    assert first[1] > len(SHOTS)
    assert sum(rows * tokens for rows, tokens in others) < first[1]
    assert sum(rows for rows, _ in others) == len(QUESTIONS)


def test_what_the_prompts_before_began_with_does_not_run_again(language, monkeypatch):
    model, alone = HFCausalLM(str(language("llama"))), HFCausalLM(str(language("llama")), share=False)
    expected = alone.generate(prompts(max_new_tokens=3))
    first, *rest = prompts(max_new_tokens=3)
    assert model.generate([first]) == expected[:1]
    seen = []
    forward = model.module.forward
    monkeypatch.setattr(
        model.module, "forward", lambda **given: (seen.append(given["input_ids"].shape[1]), forward(**given))[1]
    )
    assert model.generate(rest[:1]) == expected[1:2]
    assert model.generate(rest[1:]) == expected[2:]
    assert max(seen) <= len(max(QUESTIONS, key=len)) < len(SHOTS)


def test_prompts_of_any_length_are_answered_together(language, monkeypatch):
    model = HFCausalLM(str(language("qwen2")))
    asked = [Prompt(SHOTS[: 3 * number], max_new_tokens=7) for number in (40, 3, 22, 7, 40, 11, 30)]
    expected = [model.generate([prompt])[0] for prompt in asked]
    rows = []
    forward = model.module.forward
    monkeypatch.setattr(
        model.module, "forward", lambda **given: (rows.append(given["input_ids"].shape), forward(**given))[1]
    )
    assert model.generate(asked) == expected
    steps = [batch for batch, tokens in rows if tokens == 1]
    assert steps[0] == len(asked)  # the first step already is of all
    assert len(steps) < 7


def test_answers_end_at_a_stop_text_that_no_token_holds_alone(language, tokenizer):
    model = HFCausalLM(str(language("llama")))
    [whole] = model.generate([Prompt(SHOTS, max_new_tokens=20)])
    stop = whole[3:5]
    assert len(tokenizer(stop).input_ids) >= 2
    [cut] = model.generate([Prompt(SHOTS, max_new_tokens=20, stop=(stop,))])
    assert cut == whole[: whole.index(stop)]
    assert model.generate([Prompt(SHOTS, max_new_tokens=1)]) == [whole[:1]]


def test_a_prompt_beyond_the_context_loses_its_beginning_and_says_so(language):
    model = HFCausalLM(str(language("gpt2")))
    text = "x" * 500 + SHOTS[:100]
    [answer] = model.answer([Prompt(text, max_new_tokens=6)])
    assert answer.cost.text_tokens == 250
    assert answer.cost.cut_tokens == 350
    assert answer.text == model.generate([Prompt(text[-250:], max_new_tokens=6)])[0]
    assert model.answer([Prompt("short")])[0].cost.cut_tokens == 0


def test_the_cost_is_that_of_the_whole_prompt_shared_or_not(language):
    shared, alone = (HFCausalLM(str(language("llama")), share=share) for share in (True, False))
    costs = [answer.cost for answer in shared.answer(prompts())]
    assert costs == [answer.cost for answer in alone.answer(prompts())]
    longer, shorter = costs[0], costs[2]
    assert longer.flops > shorter.flops > 0
    assert longer.text_tokens == len(f"{SHOTS}\n\n{QUESTIONS[0]}")
    assert HFCausalLM(str(language("mpt"))).answer(prompts())[0].cost.flops is None


@pytest.mark.parametrize("family", ["llama", "pythia", "gpt-neo"])
def test_likelihoods_are_those_of_one_forward_pass(language, tokenizer, family):
    model = HFCausalLM(str(language(family)))
    pairs = [(f"{SHOTS}\n\n{QUESTIONS[0]}", f" {word}") for word in ("pie", "apple tart", "b")]
    pairs += [("a ", "b"), ("", "whole"), ("ab", "ab" * 200)]
    for (context, continuation), (found, greedy) in zip(pairs, model.loglikelihood(pairs), strict=True):
        before = tokenizer(context.rstrip()).input_ids or [0]  # a blank between the two belongs to what follows
        ids = (before + tokenizer(context + continuation).input_ids[len(context.rstrip()) :])[-257:]
        count = min(256, len(context + continuation) - len(context.rstrip()))
        with torch.inference_mode():
            logits = model.module(torch.tensor([ids[:-1]])).logits[0, -count:].log_softmax(-1)
        wanted = torch.tensor(ids[-count:])
        assert found == pytest.approx(logits.gather(1, wanted[:, None]).sum().item(), rel=1e-4)
        assert greedy == bool((logits.argmax(-1) == wanted).all())


@pytest.fixture
def joining(own_language):
    """A llama whose tokenizer makes one token of ``th``, ``the`` and `` qu``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["</s>", *alphabet, "th", "the", "Ġq", "Ġqu"]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "q"), ("Ġq", "u")]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return own_language("llama", tokenizer=hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"))


def test_a_token_that_spans_context_and_continuation_is_the_contexts_as_in_lm_eval(joining):
    model, theirs = HFCausalLM(str(joining)), HFLM(pretrained=str(joining), batch_size=1, device="cpu")
    pairs = [("a th", "e cat"), ("a t", "hem"), ("so", " quick"), ("so ", "quick"), ("", "them")]
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    for found, wanted in zip(
        model.loglikelihood(pairs), theirs.loglikelihood(requests, disable_tqdm=True), strict=True
    ):
        assert found == (pytest.approx(wanted[0], rel=1e-4), wanted[1])
    with pytest.raises(BadSample, match="no token of the continuation 'e' is separate from its context 'th'"):
        model.loglikelihood([("a", "b"), ("th", "e")])


def test_a_token_without_embedding_is_refused_where_it_is_used(own_language, tokenizer):
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens([f"<{number}>" for number in range(50)])
    model = HFCausalLM(str(own_language("llama", tokenizer=larger)))
    assert model.answer([Prompt("a<40>")])[0].cost.text_tokens == 2
    with pytest.raises(BadSample, match="'<45>' is token 302 to its tokenizer, and the model has 300"):
        model.generate([Prompt("a<45>")])
    with pytest.raises(BadSample, match="'<43>' is token 300"):
        model.loglikelihood([("a", "<43>")])


@pytest.mark.parametrize(
    "config",
    [
        hf.Gemma3Config(text_config={"max_position_embeddings": 77}),
        hf.GPT2Config(n_positions=77),
        hf.BloomConfig(seq_length=77),
        hf.MptConfig(max_seq_len=77),
        hf.BloomConfig(rope_parameters={"original_max_position_embeddings": 77}),
    ],
    ids=lambda config: config.model_type,
)
def test_the_context_is_found_wherever_it_is_stated(config, tokenizer):
    assert context_of(config, tokenizer) == 77


def test_a_context_that_no_config_states_is_the_tokenizers(tokenizer):
    assert context_of(hf.MambaConfig(), tokenizer) == 256
    endless = copy.deepcopy(tokenizer)
    endless.model_max_length = 10**30
    assert context_of(hf.MambaConfig(), endless) == 2048


def test_what_a_likelihood_loses_of_its_context_is_counted(language):
    model = HFCausalLM(str(language("llama")))
    whole, cut, long = (
        found.cost for found in model.likelihoods([("a" * 256, "b"), ("a" * 300, "bc"), ("a", "b" * 300)])
    )
    assert whole.cut_tokens == 0
    assert (cut.text_tokens, cut.cut_tokens) == (256, 45)
    assert (long.text_tokens, long.cut_tokens) == (256, 44)


def test_a_text_beyond_the_context_is_read_in_windows_each_token_once(language, tokenizer):
    model = HFCausalLM(str(language("llama")))
    text = "".join(chr(97 + number * number % 26) for number in range(600))
    [(found, _)] = model.loglikelihood([(None, text)])
    ids, expected = [0, *tokenizer(text).input_ids], 0.0
    for first, last in ((0, 256), (256, 512), (512, 600)):
        window = torch.tensor([ids[max(0, last - 256) : last + 1]])
        with torch.inference_mode():
            logits = model.module(window[:, :-1]).logits[0].log_softmax(-1)
        expected += logits.gather(1, window[0, 1:, None])[first - last :].sum().item()
    assert found == pytest.approx(expected, rel=1e-4)
    assert model.loglikelihood([(None, text[:90])])[0][0] == pytest.approx(model.loglikelihood([("", text[:90])])[0][0])
    assert model.loglikelihood([(None, "")]) == [(0, True)]


def test_what_a_likelihood_costs(language):
    model = HFCausalLM(str(language("llama")))
    one, longer, windows = (found.cost for found in model.likelihoods([("ab", "c"), ("ab", "cde"), (None, "a" * 300)]))
    assert one.text_tokens == 2
    assert longer.text_tokens == 4
    assert windows.text_tokens == 256 + 256
    assert one.flops == model.answer([Prompt("ab")])[0].cost.flops
    assert longer.flops > model.answer([Prompt("abcd")])[0].cost.flops  # the head sees each token of it


def test_likelihoods_of_some_next_tokens_are_a_part_of_one_and_at_most_one_is_greedy(language):
    model = HFCausalLM(str(language("llama")))
    ascii_letters = [chr(code) for code in range(33, 127)]
    found = model.loglikelihood([("abc", letter) for letter in ascii_letters])
    assert 0 < sum(math.exp(value) for value, _ in found) < 1
    assert sum(greedy for _, greedy in found) <= 1


def test_nothing_to_say_and_nothing_to_read(language):
    model = HFCausalLM(str(language("llama")))
    assert model.generate([]) == []
    assert model.loglikelihood([]) == []
    [answer] = model.generate([Prompt("", max_new_tokens=3)])
    assert isinstance(answer, str)


def test_what_cannot_be_asked_is_told_in_one_line(language, tokenizer, tmp_path, images):
    model = HFCausalLM(str(language("llama")))
    with pytest.raises(UserError, match="sees no images"):
        model.generate([Prompt("what is it?", images=(images[0],))])
    with pytest.raises(UserError, match="it reads 256 tokens, and an answer of 256 leaves none"):
        model.generate([Prompt("a", max_new_tokens=256)])
    with pytest.raises(UserError, match="unknown dtype 'int8'"):
        HFCausalLM(str(language("llama")), dtype="int8")
    with pytest.raises(UserError, match="no such folder"):
        HFCausalLM(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no config\.json"):
        HFCausalLM(str(tmp_path))
    hf.ViTModel(hf.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="a vit is not a causal language model"):
        HFCausalLM(str(tmp_path))
    tokenizer.save_pretrained(tmp_path)
    hf.AutoModel.from_pretrained(language("llama")).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="lack"):
        HFCausalLM(str(tmp_path))


def test_an_encoder_that_loads_as_a_language_model_is_none(tokenizer, tmp_path):
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 300, "num_attention_heads": 2}
    hf.BertLMHeadModel(hf.BertConfig(**tiny, intermediate_size=16)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="the output of a bert for a token depends on later tokens"):
        HFCausalLM(str(tmp_path))


def test_other_weights_have_another_fingerprint(language, tmp_path):
    one = HFCausalLM.fingerprint(str(language("llama")))
    assert one == HFCausalLM.fingerprint(str(language("llama")))
    assert one != HFCausalLM.fingerprint(str(language("pythia")))
