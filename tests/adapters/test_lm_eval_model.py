"""Our models as lm-eval's: the same requests come to the same scores as with lm-eval's own model of transformers."""

from __future__ import annotations

import pytest
from adaptbench.adapters.lm_eval_model import ServedModel, prompt, serve
from adaptbench.harness.errors import UserError
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.utils import make_table

TASKS = ("toy-choice", "toy-cloze", "toy-text", "toy-filters", "toy-rolling")


@pytest.fixture(scope="module")
def llama(language):
    return serve(f"hf-lm:{language('llama')}", batch_size=4)


def texts(*prompts, **wanted):
    return [Instance("generate_until", {}, (text, {"max_gen_toks": 4, **wanted}), 0) for text in prompts]


def numbers(resps):
    """The answers to a document's requests as (log-probability, greedy) or whatever else they are."""
    return [one if isinstance(one, str) else pytest.approx(one, rel=1e-4) for [one] in resps]


def test_the_same_requests_come_to_the_same_scores(lm_evals, llama):
    ours, theirs = lm_evals(*TASKS, model=llama), lm_evals(*TASKS)
    for task in TASKS:
        for one, other in zip(ours["samples"][task], theirs["samples"][task], strict=True):
            assert one["arguments"] == other["arguments"]
            assert [resp for [resp] in one["resps"]] == numbers(other["resps"])
        assert ours["results"][task] == {
            name: value if isinstance(value, str) else pytest.approx(value, rel=1e-4)
            for name, value in theirs["results"][task].items()
        }
    assert ours["results"]["toy-text"]["exact_match,none"] == 0.5
    headings = [cell.strip() for cell in make_table(ours).splitlines()[0].strip("|").split("|")]
    assert headings[:7] == ["Tasks", "Version", "Filter", "n-shot", "Metric", "", "Value"]  # old writers head A, B, C
    assert ours["config"]["adaptbench_fingerprint"] == llama.fingerprint


def test_a_cache_that_two_models_share_gives_neither_the_others_answers(
    lm_evals, llama, language, tmp_path, monkeypatch
):
    cache, other = str(tmp_path / "cache"), serve(f"hf-lm:{language('mistral')}", batch_size=4)

    def said(model):
        tasks = ("toy-text", "toy-cloze", "toy-rolling")
        found = lm_evals(*tasks, model=model, use_cache=cache)["samples"]
        return [sample["resps"] for task in tasks for sample in found[task]]

    first, second = said(llama), said(other)
    assert first != second
    monkeypatch.setattr(llama._model, "generate", None)
    monkeypatch.setattr(llama._model, "loglikelihood", None)
    assert said(llama) == first
    assert llama.fingerprint != other.fingerprint


def test_what_was_answered_before_a_crash_is_in_the_cache(llama, tmp_path, monkeypatch):
    from lm_eval.api.model import CachingLM

    asked, sizes = texts("one", "two, longer", "three, a lot longer", "four, by far the longest of all"), []
    generate = llama._model.generate

    def counting(some):
        sizes.append(len(some))
        if len(sizes) == 2:
            raise ZeroDivisionError
        return generate(some)

    monkeypatch.setattr(llama._batches, "size", 2)
    expected = llama.generate_until(asked)
    monkeypatch.setattr(llama._model, "generate", counting)
    cached = CachingLM(llama, str(tmp_path / "cache.db"))
    with pytest.raises(ZeroDivisionError):
        cached.generate_until(asked)
    assert cached.generate_until(asked) == expected
    assert sizes == [2, 2, 2]


def test_lm_eval_makes_it_by_its_name(language):
    assert get_model("hf").__name__ == "HFLM"
    kind = get_model("adaptbench")
    assert kind is ServedModel
    model = kind.create_from_arg_string(f"spec=hf-lm:{language('llama')}", {"batch_size": "auto", "device": "cuda"})
    assert len(model.generate_until(texts("a", "b"))) == 2


def test_a_request_becomes_a_prompt():
    asked = prompt("Q", {"until": "x", "max_tokens": 7, "temperature": 0.0}, where="task t")
    assert (asked.text, asked.stop, asked.max_new_tokens) == ("Q", ("x",), 7)
    assert prompt("Q", {"until": ["", "\n"]}, where="task t").stop == ("\n",)
    assert prompt("Q", {}, where="task t").max_new_tokens == 256


def test_what_cannot_be_asked_is_told(llama):
    with pytest.raises(UserError, match="task t: decoding is greedy"):
        prompt("Q", {"do_sample": True, "temperature": 1.0}, where="task t")
    with pytest.raises(UserError, match="images"):
        prompt("Q", {}, {"visual": []}, where="task t")
    with pytest.raises(UserError, match="pixels: it generates no text"):
        serve("pixels").generate_until(texts("a"))
    with pytest.raises(UserError, match="pixels: it has no log-likelihoods"):
        serve("pixels").loglikelihood([])
    with pytest.raises(UserError, match="unknown model 'hf-ln'"):
        serve("hf-ln:somewhere")
    with pytest.raises(UserError, match="greedy"):
        llama.generate_until(texts("a", do_sample=True))
