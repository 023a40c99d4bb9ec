"""The 14 data sets of prompt-based finetuning with their templates and label words, as data (dissertation A.14, A.6.2).

MPQA has no row in Table A.14; it is asked as MR is, as in LM-BFF.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .task import Measure

IT_WAS, THIS_IS = "{s1} It was {mask}.", "{s1} This is {mask}."
ASKED, JOINED = "{s1-}? {mask}, {s2}", "{s1} {mask}, {s2}"
_GLUE = "nyu-mll/glue"


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set.

    Attributes:
        title: As papers write it.
        template: See `templates`.
        words: Name of each class -> its label word, in the order of the classes' numbers.
        hub: Its id on the hub.
        config: Its configuration there.
        first: Columns that may hold the first sentence, the best first.
        second: Likewise the second; empty for single sentences.
        label: Columns that may hold the class.
        test: Splits that are the test split; of files, what their names begin with.
        bare: Columns of a file without a header.
        bare_order: Names of the classes by number in such a file, where its order is another one.
        measure: What results are reported by.
        first_limit: Tokens of the first sentence that are read.
        max_tokens: Of a prompt.
    """

    title: str
    template: str
    words: Mapping[str, str]
    hub: str
    config: str = ""
    first: tuple[str, ...] = ("sentence", "text")
    second: tuple[str, ...] = ()
    label: tuple[str, ...] = ("label_text", "label")
    test: tuple[str, ...] = ("test",)
    bare: tuple[str, ...] = ("label", "text")
    bare_order: tuple[str, ...] = ()
    measure: Measure = "accuracy"
    first_limit: int | None = 110
    max_tokens: int = 128


_POLAR = {"negative": "terrible", "positive": "great"}
_RELATED = {"entailment": "Yes", "neutral": "Maybe", "contradiction": "No"}
_FOLLOWS = {"entailment": "Yes", "not_entailment": "No"}
_PAIR: dict[str, Any] = {
    "second": ("sentence2", "hypothesis"),
    "first": ("sentence1", "premise"),
    "label": ("gold_label", "label"),
}
_MNLI = DataSet(
    "MNLI", ASKED, _RELATED, _GLUE, "mnli", test=("validation_matched", "dev_matched"), max_tokens=256,
    first_limit=None, **_PAIR,
)  # fmt: skip

DATA_SETS: Mapping[str, DataSet] = {
    "sst2": DataSet("SST-2", IT_WAS, _POLAR, _GLUE, "sst2", test=("validation", "dev"), first_limit=None),
    "sst5": DataSet(
        "SST-5",
        IT_WAS,
        {
            "very negative": "terrible",
            "negative": "bad",
            "neutral": "okay",
            "positive": "good",
            "very positive": "great",
        },
        "SetFit/sst5",
    ),
    "mr": DataSet("MR", IT_WAS, {"neg": "terrible", "pos": "great"}, "cornell-movie-review-data/rotten_tomatoes"),
    "cr": DataSet("CR", IT_WAS, _POLAR, "SetFit/CR"),
    "mpqa": DataSet("MPQA", IT_WAS, _POLAR, "jxm/mpqa"),
    "subj": DataSet(
        "Subj",
        THIS_IS,
        {"objective": "objective", "subjective": "subjective"},
        "SetFit/subj",
        bare_order=("subjective", "objective"),
    ),
    "trec": DataSet(
        "TREC",
        "{mask}: {s1}",
        {
            "ABBR": "Expression",
            "ENTY": "Entity",
            "DESC": "Description",
            "HUM": "Human",
            "LOC": "Location",
            "NUM": "Number",
        },
        "CogComp/trec",
        label=("coarse_label", "label_coarse", "label_text", "label"),
        bare_order=("DESC", "ENTY", "ABBR", "HUM", "LOC", "NUM"),
    ),
    "cola": DataSet(
        "CoLA",
        THIS_IS,
        {"unacceptable": "incorrect", "acceptable": "correct"},
        _GLUE,
        "cola",
        test=("validation", "dev"),
        bare=("source", "label", "star", "text"),
        measure="matthews",
        first_limit=None,
    ),
    "mnli": _MNLI,
    "mnli-mm": replace(_MNLI, title="MNLI-mm", test=("validation_mismatched", "dev_mismatched")),
    "snli": DataSet(
        "SNLI",
        ASKED,
        _RELATED,
        "stanfordnlp/snli",
        test=("validation", "dev"),
        max_tokens=256,
        first_limit=None,
        **_PAIR,
    ),
    "qnli": DataSet(
        "QNLI",
        ASKED,
        _FOLLOWS,
        _GLUE,
        "qnli",
        first=("question",),
        second=("sentence",),
        test=("validation", "dev"),
        first_limit=None,
    ),
    "rte": DataSet(
        "RTE",
        ASKED,
        _FOLLOWS,
        _GLUE,
        "rte",
        test=("validation", "dev"),
        max_tokens=256,
        first_limit=240,
        **{**_PAIR, "label": ("label",)},
    ),
    "mrpc": DataSet(
        "MRPC",
        JOINED,
        {"not_equivalent": "No", "equivalent": "Yes"},
        _GLUE,
        "mrpc",
        first=("sentence1", "#1 String"),
        second=("sentence2", "#2 String"),
        label=("label", "Quality"),
        test=("validation", "dev"),
        measure="f1",
        first_limit=None,
    ),
    "qqp": DataSet(
        "QQP",
        JOINED,
        {"not_duplicate": "No", "duplicate": "Yes"},
        _GLUE,
        "qqp",
        first=("question1",),
        second=("question2",),
        label=("label", "is_duplicate"),
        test=("validation", "dev"),
        measure="f1",
        first_limit=None,
    ),
}
"""Name -> data set; ``prompt-NAME`` is its task."""
