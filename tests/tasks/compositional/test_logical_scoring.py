"""Scores and mistakes of the logical suite, by hand and on anything."""

from __future__ import annotations

import pytest
from adaptbench.tasks.compositional import scoring
from adaptbench.tasks.compositional.logical import logical
from hypothesis import given
from hypothesis import strategies as st

SWAPPED = {
    "answers": ["FORD BELL"],
    "readings": {
        "copied": ["( * bell * ford )"],
        "first only": ["BELL FORD"],
        "second only": ["ford bell"],
        "first, then second": ["FORD BELL"],
        "second, then first": ["FORD BELL"],
    },
    "marks": "()*",
}
EITHER = {
    "answers": ["4", "11"],
    "readings": {
        "copied": ["8 # 9 @ 7"],
        "first only": ["8 2", "2"],
        "second only": ["18 7", "18"],
        "second, then first": ["4"],
        "first, then second": ["11"],
    },
    "marks": "#@",
}


@pytest.mark.parametrize(
    ("answer", "words", "exact", "contained"),
    [
        ("FORD BELL", 1, 1, 1),
        ("BELL FORD", 0, 0, 0),
        ("FORD", 0.5, 0, 0),
        ("FORD BELL now", 1, 0, 1),
        ("  FORD  BELL ", 1, 0, 0),
        ("now FORD BELL", 0, 0, 1),
        ("ford bell", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_three_scores(answer, words, exact, contained):
    assert scoring.best(answer, ["FORD BELL"]) == {"word match": words, "exact match": exact, "contains": contained}


def test_contains_takes_4360_for_436_and_the_others_do_not():
    assert scoring.best("4360", ["436"]) == {"word match": 0, "exact match": 0, "contains": 1}


@pytest.mark.parametrize("answer", ["4", "11"])
def test_of_several_truths_the_best_counts(answer):
    assert scoring.best(answer, EITHER["answers"]) == {"word match": 1, "exact match": 1, "contains": 1}


@pytest.mark.parametrize(
    ("target", "answer", "done"),
    [
        (SWAPPED, "FORD BELL", "right"),
        (SWAPPED, "BELL FORD", "first only"),
        (SWAPPED, "( BELL FORD )", "first only"),
        (SWAPPED, "* ford * bell", "second only"),
        (SWAPPED, "bell ford", "copied"),
        (SWAPPED, "( * bell * ford )", "copied"),
        (SWAPPED, "( FORD BELL )", "other"),
        (SWAPPED, "Ford Bell", "other"),
        (SWAPPED, "", "other"),
        (EITHER, "4", "right: second, then first"),
        (EITHER, "11", "right: first, then second"),
        (EITHER, "18 @ 7", "second only"),
        (EITHER, "18", "second only"),
        (EITHER, "2", "first only"),
        (EITHER, "8 9 7", "copied"),
        (EITHER, "1", "other"),
    ],
)
def test_what_an_answer_shows_to_have_been_done(target, answer, done):
    assert scoring.applied(answer, target) == done


@pytest.mark.parametrize(
    ("text", "line"), [(" FORD BELL\n\ninput: x", "FORD BELL"), ("\nFORD", ""), ("", ""), ("a\r\nb", "a")]
)
def test_an_answer_ends_with_its_line(text, line):
    assert scoring.first_line(text) == line


TASK = logical("all", setting="all", k=0, queries=3, replications=1)
SAID = st.text() | st.lists(st.sampled_from(["A", "4", "18", "(", "*", "bell", "\n", "  "])).map(" ".join)


@given(st.sampled_from(TASK.samples), st.data())
def test_right_answers_and_mistakes_sum_to_one(sample, data):
    known = [text for texts in sample.target["readings"].values() for text in texts]
    said = data.draw(SAID | st.sampled_from(known))
    scores = TASK.score(sample, TASK.parse(sample, said))
    assert scores.keys() == {metric.name for metric in TASK.card.metrics}
    assert scores["exact match"] + sum(scores[name] for name in (*scoring.MISTAKES, scoring.OTHER)) == 1
    assert scores["exact match"] <= scores["word match"] <= 1
    assert scores["exact match"] <= scores["contains"]


@pytest.mark.parametrize("output", [None, 3, ["FORD"], {}])
def test_what_is_no_text_is_not_scored(output):
    sample = TASK.samples[0]
    assert TASK.score(sample, TASK.parse(sample, output)) is None
