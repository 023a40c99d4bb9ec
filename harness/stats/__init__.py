"""Intervals, paired tests, power, rank tiers and the Pareto frontier: numbers in, numbers out.

The normal, t, binomial and permutation arithmetic is numpy's and ``scipy.special``'s; ``scipy.stats`` would cost a
second to import.
"""

from .contrasts import difference_interval, drawn_differences, ratio_interval
from .intervals import Values, cluster_names, drawn_intervals, drawn_weights, mean_interval, share_interval, wilson
from .paired import holm, mcnemar_p, paired_p, paired_ps
from .power import detectable_difference, detectable_gap, detectable_mean_difference, mcnemar_power
from .tiers import Lead, Tier, pareto, rank_tiers

__all__ = [
    "Lead",
    "Tier",
    "Values",
    "cluster_names",
    "detectable_difference",
    "detectable_gap",
    "detectable_mean_difference",
    "difference_interval",
    "drawn_differences",
    "drawn_intervals",
    "drawn_weights",
    "holm",
    "mcnemar_p",
    "mcnemar_power",
    "mean_interval",
    "paired_p",
    "paired_ps",
    "pareto",
    "rank_tiers",
    "ratio_interval",
    "share_interval",
    "wilson",
]
