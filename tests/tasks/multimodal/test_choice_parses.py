"""How yes, no and letters are read out of answers, and scores out of verdicts: the reference cases, and totality."""

import json
import math
import string
from pathlib import Path

import numpy as np
import pytest
from adaptbench.tasks.multimodal import choices, judged, yes_no
from hypothesis import given
from hypothesis import strategies as st

CASES = json.loads(Path(__file__).with_name("edge_cases_choices.json").read_text("utf-8"))
ANIMALS = {"A": "teddy bear", "B": "rabbit", "C": "cat", "D": "dog"}
FOUR = dict.fromkeys("ABCD", "x")


@pytest.mark.parametrize(("text", "expected"), CASES["pope_parse"])
def test_pope_official_reads_as_the_script_does(text, expected):
    assert yes_no.pope_official(text) == expected


@pytest.mark.parametrize(("text", "expected"), CASES["mme_parse"])
def test_mme_official_reads_as_the_script_does(text, expected):
    assert yes_no.mme_official(text) == expected


@pytest.mark.parametrize(("text", "expected"), CASES["mme_parse_lmms_eval"])
def test_mme_lmms_eval_reads_as_lmms_eval_does(text, expected):
    assert yes_no.mme_lmms_eval(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Yes", "yes"), (" no\n", "no"), ("No.", "other"), ("Yes, there is", "other"), ("", "other"), ("NO", "no")],
)
def test_pope_lmms_eval_takes_the_bare_word_only(text, expected):
    assert yes_no.pope_lmms_eval(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", "yes"),
        ("There is no dog.", "no"),
        ("yes/no", "other"),  # the mark becomes a blank, so both are there
        ("yes,no, maybe", "other"),  # the comma stands beside a blank: all commas go, and neither word is left
        ("not", "other"),
        ("It's a yes", "yes"),
        ("yes1,2", "other"),
        ("", "other"),
    ],
)
def test_vlmevalkit_looks_for_the_words(text, expected):
    assert yes_no.vlmevalkit(text) == expected


@pytest.mark.parametrize(("text", "expected"), CASES["scienceqa_pred_idx_4choices"])
def test_scienceqa_official_reads_as_the_script_does(text, expected):
    letter = choices.scienceqa_official(text, FOUR)
    assert (-1 if letter is None else "ABCD".index(letter)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "A"), ("A.", "A"), ("B.dog", "B"), ("b.", None), (" C ", "C"), ("The answer is B.", None), ("E", None)],
)
def test_scienceqa_lmms_eval(text, expected):
    assert choices.scienceqa_lmms_eval(text, FOUR) == expected


@pytest.mark.parametrize(("text", "official", "lmms_eval"), CASES["mmbench_can_infer"])
def test_mmbench_reads_as_both_extractors_do(text, official, lmms_eval):
    assert choices.vlmevalkit(text, ANIMALS) == (official or None)
    assert choices.mmbench_lmms_eval(text, ANIMALS) == (lmms_eval or None)


def test_vlmevalkit_takes_an_article_after_answer_is_for_a_letter():
    """The pattern ignores case, so `a` counts as A; that is what the original does."""
    assert choices.vlmevalkit("I think the answer is a rabbit or a dog, I am not sure at all", ANIMALS) == "A"


def test_vlmevalkit_offers_only_the_letters_of_the_question():
    assert choices.vlmevalkit("C", {"A": "cat", "B": "dog"}) is None


def test_vlmevalkit_does_not_look_for_options_in_a_long_answer():
    options = {"A": "red", "B": "blue"}
    assert choices.vlmevalkit("it is blue", options) == "B"
    assert choices.vlmevalkit("as far as I can see it is blue", options) is None


@pytest.mark.parametrize(("text", "expected"), [("A", "A"), ("A.", None), (" A", None), ("a", None), ("E", None)])
def test_seed_official_takes_the_letter_only(text, expected):
    assert choices.seed_official(text, FOUR) == expected


@pytest.mark.parametrize(("text", "expected"), [("A", "A"), (" b)", "B"), ("Cat", "C"), ("", None), ("x", None)])
def test_seed_lmms_eval_takes_the_first_character(text, expected):
    assert choices.seed_lmms_eval(text, FOUR) == expected


@pytest.mark.parametrize(("text", "expected"), CASES["llavabench_parse_score"])
def test_llava_bench_official_reads_as_the_script_does(text, expected):
    assert list(judged.llava_bench_official(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Assistant 1: 8\n", (1.0, 8.0)), ("\n8, 9 \nwell", (8.0, 9.0)), ("8", (-1, -1)), ("8/10 9/10", (8.0, 10.0))],
)
def test_llava_bench_lmms_eval_looks_for_numbers(text, expected):
    assert judged.llava_bench_lmms_eval(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5", 0.5), ("1", 1.0), ("0.7 | because", 0.7), ("\n0.2", 0.2), ("1.1", None), ("-0.1", None), ("nan", None)],
)
def test_mmvet_score(text, expected):
    assert judged.mmvet_score(text) == expected


ALPHABET = string.printable + "ABCDEZyesno.,()*’。\x00"
texts = st.one_of(
    st.text(),
    st.text(ALPHABET),
    st.lists(st.sampled_from(["yes", "No", "not", "A", "(B)", "answer is", " "])).map("".join),
)
options = st.dictionaries(st.sampled_from("ABCDEFGH"), st.text(max_size=8), max_size=6)


@pytest.mark.parametrize(
    "parse", [yes_no.pope_official, yes_no.pope_lmms_eval, yes_no.mme_official, yes_no.mme_lmms_eval, yes_no.vlmevalkit]
)
@given(text=texts)
def test_yes_no_is_total(parse, text):
    assert parse(text) in ("yes", "no", "other")


@pytest.mark.parametrize("word", ["yes", "no"])
@pytest.mark.parametrize("parse", [yes_no.mme_official, yes_no.mme_lmms_eval, yes_no.vlmevalkit])
@given(
    tail=st.sampled_from(["", ".", "!", ",", "?", " !", ". ", "\n"]), case=st.sampled_from([str, str.upper, str.title])
)
def test_any_casing_and_punctuation_is_read(parse, word, tail, case):
    assert parse(case(word) + tail) == word


@pytest.mark.parametrize(
    "parse",
    [
        choices.scienceqa_official,
        choices.scienceqa_lmms_eval,
        choices.vlmevalkit,
        choices.mmbench_lmms_eval,
        choices.seed_official,
        choices.seed_lmms_eval,
    ],
)
@given(text=texts, offered=options)
def test_letters_are_total(parse, text, offered):
    assert parse(text, offered) in (None, *"ABCDEZ", *offered)


@pytest.mark.parametrize("parse", [choices.scienceqa_official, choices.scienceqa_lmms_eval, choices.seed_official])
@given(offered=options)
def test_a_bare_letter_that_is_offered_is_read(parse, offered):
    for letter in set(offered) & set("ABCDE"):
        assert parse(letter, offered) == letter


@given(text=st.one_of(texts, st.text("0123456789.,- nae+\n")))
def test_verdicts_are_total(text):
    score = judged.mmvet_score(text)
    assert score is None or 0 <= score <= 1
    for pair in (judged.llava_bench_official(text), judged.llava_bench_lmms_eval(text)):
        assert len(pair) == 2
        assert all(map(math.isfinite, pair))


def test_llava_bench_rounds_the_means_before_the_ratio():
    reference, model = np.array([8.0, 8, 9]), np.array([5.0, 5, 5])
    assert judged.llava_bench_summary(reference, model).ratio == round(5 / 8.333 * 100, 1)
    reference, model = np.array([2.0] * 1999 + [3.0]), np.array([1.0] * 1999 + [3.0])
    summary = judged.llava_bench_summary(reference, model)
    assert (summary.reference, summary.model) == (20.0, 10.0)
    # As the official script prints the column of LLaVA-1.5-13B's conversations: 8.7647 is 8.765, and that is 87.7.
    assert judged.llava_bench_summary(np.full(17, 9.0), np.array([8.0] * 4 + [9.0] * 13)).model == 87.7
    exact = judged.llava_bench_summary(reference, model, rounded=False)
    assert exact.ratio == pytest.approx(1.001 / 2.0005 * 100)
    assert exact.ratio != round(exact.ratio, 1)


def test_llava_bench_summary_counts_a_verdict_as_often_as_its_weight_says():
    reference, model = np.array([8.0, 10.0]), np.array([4.0, 10.0])
    assert judged.llava_bench_summary(reference, model, np.array([3.0, 1.0])).model == 55.0
    assert math.isnan(judged.llava_bench_summary(np.zeros(1), np.ones(1)).ratio)


def test_mmvet_table_by_hand():
    capabilities = {"v1_0": ["ocr", "math"], "v1_1": ["rec"], "v1_2": ["rec", "ocr"]}
    table = judged.mmvet_table({"v1_0": [1.0, 0.5], "v1_1": [0.0, 0.0], "v1_2": [0.5, 1.0]}, capabilities)
    assert table.capabilities == {"math": 75.0, "ocr": 75.0, "rec": 37.5, "total": 50.0}
    assert table.integrations == {"math_ocr": 75.0, "rec": 0.0, "ocr_rec": 75.0}
    assert (table.runs, table.std) == ([50.0, 50.0], 0.0)


def test_mmvet_table_counts_a_question_without_grade_as_nothing():
    table = judged.mmvet_table({"v1_0": [1.0, 0.0]}, {"v1_0": ["rec"], "v1_1": ["rec"]})
    assert (table.capabilities["total"], table.runs, table.std) == (25.0, [50.0, 0.0], 25.0)
