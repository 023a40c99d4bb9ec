"""The word error rate, against a plain dynamic programme."""

import pytest
from adaptbench.tasks.compositional.word_errors import word_error_rate
from hypothesis import given
from hypothesis import strategies as st

texts = st.lists(st.sampled_from("A B C ( ) , NONE É".split()), max_size=12)


def edits(said, truth):
    """Fewest insertions, deletions and exchanges, by the table of all beginnings."""
    table = [list(range(len(truth) + 1))]
    for i, word in enumerate(said, 1):
        row = [i]
        for j, other in enumerate(truth, 1):
            row.append(min(table[i - 1][j] + 1, row[j - 1] + 1, table[i - 1][j - 1] + (word != other)))
        table.append(row)
    return table[-1][-1]


@given(texts, texts.filter(bool))
def test_it_is_the_number_of_edits_per_word_of_the_truth(said, truth):
    assert word_error_rate(" ".join(said), " ".join(truth)) == edits(said, truth) / len(truth)


@given(texts.filter(bool))
def test_truth_has_none_and_silence_has_one(truth):
    text = " ".join(truth)
    assert word_error_rate(text, text) == 0
    assert word_error_rate("", text) == 1


@pytest.mark.parametrize(
    ("said", "truth", "rate"),
    [
        ("SQUEEZE ( NONE , BOOK , NONE )", "SQUEEZE ( EMMA , BOOK , NONE )", 1 / 8),
        ("SEE  ( A )\t", " SEE ( A )", 0),
        ("output: A", "A", 1),
        ("A B C", "A", 2),
    ],
)
def test_brackets_are_words_and_blanks_are_not(said, truth, rate):
    assert word_error_rate(said, truth) == rate


def test_a_truth_without_words_has_no_rate():
    with pytest.raises(ValueError, match="without words"):
        word_error_rate("A", " ")
