"""Word error rate of a translation (section B.2). Words are separated by blanks; a bracket is a word."""

from __future__ import annotations


def word_error_rate(said: str, truth: str) -> float:
    """Return how many words must be inserted, deleted or exchanged to make the truth, per word of the truth.

    It is 0 for the truth itself, 1 for no word at all, and has no upper bound.

    Raises:
        ValueError: The truth has no words.
    """
    from rapidfuzz.distance import Levenshtein

    words = truth.split()
    if not words:
        raise ValueError("a truth without words has no word error rate")
    return Levenshtein.distance(said.split(), words) / len(words)
