"""The words of docs/architecture.md are kept: what its tables call "not" stands nowhere else."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import adaptbench
import pytest

ROOT = Path(adaptbench.__file__).parent
LEXICON = ROOT / "docs" / "architecture.md"
TOP = ("adapters", "ci", "docs", "findings", "harness", "leaderboards", "models", "tasks", "tests")
ENDINGS = {".css", ".j2", ".js", ".md", ".py", ".sh", ".toml", ".txt", ".yaml"}

# Other people's words, in files that may not say them otherwise.
THEIRS = {
    "picture": {"models/reference/tiny_llava_parts.py"},  # the shipped model was trained with this prompt
    "landmark": {"tasks/multimodal/mme.py"},  # one of MME's subtasks
    "mend": {"tasks/compositional/words.py"},  # a verb of the dissertation's
}
# Phrases that are held by their pattern, not by their words alone.
PATTERNS = {
    "is no number": r"(?<!here)\s(?:is|are|was|were)\s+no\s+(?!longer|more|less|other|such|further|two)[a-z]",
    "is none": r"\b(?:text|spec|plan|that) is none\b",
    "one vector an image": r"\b(?:one|1) (?:\w+ )?(?:document|file|item|object|record|row|text|token|vector) an? \w+",
}


@functools.cache
def texts():
    """Every text of the repository but the lexicon and this file: path -> content."""
    paths = [path for top in TOP for path in (ROOT / top).rglob("*") if path.suffix in ENDINGS]
    paths += [path for path in ROOT.iterdir() if path.suffix in ENDINGS]
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in paths
        if path not in {LEXICON, ROOT / "tests" / "test_words.py"}
    }


def refused():
    """The words in backticks in the last column of the lexicon's two tables."""
    section = LEXICON.read_text(encoding="utf-8").partition("## Words\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\| ([^|]*) \|$", section, re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


def pattern(word):
    if word in PATTERNS:
        return re.compile(PATTERNS[word])
    plain = r"\s+".join(map(re.escape, word.split()))
    return re.compile(rf"(?<![a-z]){plain}(?:s|ed)?(?![a-z])", re.IGNORECASE)


def found(word, text):
    return [text.count("\n", 0, match.start()) + 1 for match in pattern(word).finditer(text)]


@pytest.mark.parametrize("word", refused())
def test_a_word_that_the_lexicon_replaces_is_not_used(word):
    used = {name: found(word, text) for name, text in texts().items() if name not in THEIRS.get(word, ())}
    assert {name: lines for name, lines in used.items() if lines} == {}


def test_every_exception_is_needed():
    assert THEIRS.keys() <= set(refused())
    assert [name for word, names in THEIRS.items() for name in names if not found(word, texts()[name])] == []


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("picture", "question.picture_url"),
        ("landmark", "Landmarks are"),
        ("stands there twice", "it stands\n    there twice"),
        ("is no number", "the key is no text"),
        ("one vector an image", "one finite vector an image"),
    ],
)
def test_it_is_found_in_names_and_across_lines(word, text):
    assert found(word, text)


@pytest.mark.parametrize(
    ("word", "text"), [("shut", "import shutil"), ("mend", "we recommend"), ("is no number", "there is no number")]
)
def test_it_is_not_found_in_other_words(word, text):
    assert not found(word, text)
