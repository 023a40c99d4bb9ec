"""Chat templates: put around a text once, as the checkpoint has it, and given to lm-eval as its own model gives it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from adaptbench.adapters.lm_eval_model import serve
from adaptbench.adapters.transformers_causal import HFCausalLM
from adaptbench.harness.contracts import Prompt
from adaptbench.harness.errors import UserError
from lm_eval.models.huggingface import HFLM
from tokenizers import processors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TURNS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "chatml": TURNS,
    "with its first token": "{{ bos_token }}" + TURNS,
    "dated": "{{ strftime_now('%Y') }}" + TURNS,
    "no system prompt": "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + TURNS,
    "drops it": TURNS.replace("%}<|im_start|>", "if m.role != 'system' %}<|im_start|>", 1),
}
TEXTS = ("input: a b\noutput: b a\n\ninput: c d", " What is it? ")


@pytest.fixture
def talking(own_language: Callable[..., Path], tokenizer: Any) -> Callable[..., Path]:
    """Template -> a tiny llama whose tokenizer has it, begins texts with <s> and ends answers with <|im_end|>.

    Its generation_config has other end tokens, and a repetition penalty.
    """

    def made(template: str = "chatml") -> Path:
        chat = copy.deepcopy(tokenizer)
        chat.add_special_tokens({"bos_token": "<s>", "eos_token": "<|im_end|>"})
        chat.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
        chat.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", chat.bos_token_id)]
        )
        chat.chat_template = TEMPLATES.get(template)
        folder = own_language("llama", tokenizer=chat)
        settings = {"eos_token_id": [0, 3], "repetition_penalty": 1.2, "do_sample": True}
        (folder / "generation_config.json").write_text(json.dumps(settings))
        return folder

    return made


@pytest.mark.parametrize("template", ["chatml", "with its first token"])
@pytest.mark.parametrize("system", ["", "You answer in one word."])
def test_a_text_is_put_into_the_template_once(talking, template, system):
    folder = str(talking(template))
    plain, chat = HFCausalLM(folder), HFCausalLM(folder, chat=True, system=system)
    before = [{"role": "system", "content": system}] if system else []
    texts = [plain.apply_chat_template([*before, {"role": "user", "content": text}]) for text in TEXTS]
    asked, written = ([Prompt(text, max_new_tokens=8) for text in some] for some in (TEXTS, texts))
    answers = chat.answer(asked)
    assert answers == plain.answer(written)
    assert [answer.text for answer in answers] != plain.generate(asked)
    markers = ["<|im_start|>", "<|im_end|>"] * (1 + len(before)) + ["<|im_start|>"]
    letters = texts[0].removeprefix("<s>")
    for marker in markers:
        letters = letters.replace(marker, "", 1)
    assert answers[0].cost.text_tokens == 1 + len(markers) + len(letters)


def test_a_likelihood_in_a_chat_is_that_of_the_answer_it_begins(talking):
    folder = str(talking())
    plain, chat = HFCausalLM(folder), HFCausalLM(folder, chat=True)
    context = plain.apply_chat_template([{"role": "user", "content": TEXTS[0]}])
    expected = plain.loglikelihood([(context, "yes"), ("", "yes"), (None, "yes")])
    assert chat.loglikelihood([(TEXTS[0], " yes"), ("", "yes"), (None, "yes")]) == expected
    theirs = HFLM(pretrained=folder, batch_size=1, device="cpu")
    assert theirs.apply_chat_template([{"role": "user", "content": TEXTS[0]}]) == context


def test_a_chat_that_cannot_be_had_is_refused_in_one_line(talking, language):
    with pytest.raises(UserError, match="a system prompt is a part of a chat; add chat=true"):
        HFCausalLM(str(talking()), system="Be brief.")
    with pytest.raises(UserError, match="it has no chat template; ask it without"):
        HFCausalLM(str(language("llama")), chat=True)
    for template, said in (
        ("no system prompt", "its chat template cannot be applied: no system role; leave the system prompt out"),
        ("drops it", "its chat template leaves the system prompt out"),
    ):
        with pytest.raises(UserError, match=said):
            HFCausalLM(str(talking(template)), chat=True, system="Be brief.")


@pytest.mark.parametrize("template", ["with its first token", "no system prompt"])
def test_lm_eval_is_given_the_text_that_its_own_model_gives_it(talking, lm_evals, template, caplog):
    folder = str(talking(template))
    ours, theirs = serve(f"hf-lm:{folder}", batch_size=4), HFLM(pretrained=folder, batch_size=4, device="cpu")
    tasks = ("toy-choice", "toy-cloze", "toy-text")
    for options in (
        {"num_fewshot": 2, "system_instruction": "Be brief."},
        {"num_fewshot": 2, "fewshot_as_multiturn": True},
    ):
        one, other = (lm_evals(*tasks, model=model, apply_chat_template=True, **options) for model in (ours, theirs))
        for task in tasks:
            for mine, own in zip(one["samples"][task], other["samples"][task], strict=True):
                assert mine["arguments"] == own["arguments"]
                assert "<|im_start|>assistant" in mine["arguments"][0][0]
                assert [resp for [resp] in mine["resps"]] == [
                    resp if isinstance(resp, str) else pytest.approx(resp, rel=1e-4) for [resp] in own["resps"]
                ]
        assert one["config"]["adaptbench_spec"] == f"hf-lm:{folder}"
    assert caplog.text.count("the system prompt is left out") == (template == "no system prompt")


def test_a_template_that_writes_the_date_is_told(talking):
    folder = str(talking("dated"))
    assert HFCausalLM(folder).notes == ()
    assert HFCausalLM(folder, chat=True).notes == ("its chat template writes the date of the day into every prompt",)


def test_what_lm_eval_cannot_have_put_into_a_template_is_told(talking, language):
    message = [{"role": "user", "content": "a"}]
    with pytest.raises(UserError, match="it applies its own chat template; leave out chat=true or lm-eval's"):
        serve(f"hf-lm:{talking()}(chat=true)").apply_chat_template(message)
    with pytest.raises(UserError, match="it has no chat template"):
        serve(f"hf-lm:{language('llama')}").apply_chat_template(message)
    with pytest.raises(UserError, match="constant: it takes no chat template from lm-eval"):
        serve("constant").apply_chat_template(message)
