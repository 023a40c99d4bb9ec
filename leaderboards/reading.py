"""What the words and marks of a board mean, for its reader."""

from __future__ import annotations

from .ranking import ALPHA, LEAST_SAMPLES, MOST_UNSCORED

HOW_TO_READ: tuple[tuple[str, str], ...] = (
    (
        "Interval",
        "63.21 ± 0.34 is a mean and the half-width of its 95 % interval over the samples of the task: episodes or "
        "questions, or groups of them that belong together. Where its ends are not equally far, both are given: 98.33 "
        "[93.82, 99.57]. Shares have Wilson intervals, which stay between 0 and 100 %, other means t intervals, and "
        "derived metrics, such as F1, the middle 95 % of 1,000 bootstrap draws. Overlapping intervals do not mean that "
        "two models are equal.",
    ),
    (
        "Rank",
        "The ranks that are compatible with the samples. All pairs of models are compared sample by sample with paired "
        "tests, right and wrong answers with McNemar's exact test; the p values are adjusted for their number (Holm, "
        f"level {ALPHA:g} for the whole task, half of it for neighbours). A model ranked 2–3 is significantly worse "
        "than one model, and at most one more may be better. The notes name the nearest models that are told apart. "
        "Bold scores in the overview: no other model is significantly better.",
    ),
    (
        "Not ranked",
        "A rank needs equal samples, the same version of the same scoring rule, a whole run, at least "
        f"{LEAST_SAMPLES} scored samples and scores for {100 - 100 * MOST_UNSCORED:g} % of them. Other cells are shown "
        "in grey, with the reason.",
    ),
    (
        "Baselines",
        "Constant and random predictors, models that see no image, visual tokens at random places: what a score is "
        "worth on the same samples. They are not ranked.",
    ),
    (
        "Unscored, unparsed",
        "Unscored samples have no score; that is not a score of zero. Unparsed ones have an answer that the scoring "
        "rule could not read; the rule decides its score.",
    ),
    (
        "FLOPs",
        "Counted for the forward pass of one input: one multiply-accumulate is two FLOPs; norms, activations and other "
        "elementwise work are not counted. Counts made under another convention do not share a chart.",
    ),
    (
        "Time",
        "Measured on the task's own first batch and divided by its inputs: median with quartiles. Only times of the "
        "same machine, device and batch size share a chart. A time is never taken from a cache.",
    ),
    (
        "Frontier",
        "The line joins the models that no other beats in both cost and score, baselines aside. A model behind it is "
        "called dominated only if one that costs no more has a better rank that does not overlap with its own.",
    ),
)
