"""Diversity: how well the tasks chosen so far cover the target (dissertation section 3.3.2).

``coverage = 1 / d^2``, where d is the Mahalanobis distance of the target's mean from the mean of all samples chosen so
far, under their covariance C. With fewer samples than dimensions C has no inverse, and with few more its inverse is
too large by (n - 1) / (n - q - 2) on average, so that coverage grows with n alone. Therefore:

- distances are measured along the leading principal axes of all candidates, far fewer than there are samples;
- one ridge, the same for all prefixes, is added to C, and a Cholesky factor is solved: nothing is inverted;
- d^2 is multiplied by (n - q - 2) / (n - 1) (Anderson, An Introduction to Multivariate Statistical Analysis, 7.7: the
  mean of an inverted Wishart matrix);
- all arithmetic is in float64, and moments are merged task by task (Chan, Golub and LeVeque 1983), which subtracts no
  large numbers from each other.

`plain_coverage` is the formula as the dissertation prints it, for comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    from .similarity import DoubleArray

SAMPLES_PER_AXIS = 5
"""Samples of the first task to each axis."""
FLOOR = 1e-9
"""The least squared distance: equal means have a coverage of 1e9, and not of infinity."""


class Moments:
    """Count, mean and scatter of samples that come task by task.

    Attributes:
        count: Samples so far.
        mean: float64 [d].
        scatter: Sum of the outer products of the samples' deviations from the mean, float64 [d, d].
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean: DoubleArray = np.zeros(width)
        self.scatter: DoubleArray = np.zeros((width, width))

    def add(self, *parts: npt.NDArray[Any]) -> None:
        """Add samples, each part [n_i, d]."""
        count = sum(map(len, parts))
        rows = np.empty((count + 1, len(self.mean)))  # the last one is the step from the old mean to that of these
        np.concatenate(parts, out=rows[:count])
        mean = rows[:count].mean(axis=0)
        rows[:count] -= mean
        step = mean - self.mean
        share = count / (self.count + count)
        rows[count] = step * np.sqrt(self.count * share)
        self.scatter += rows.T @ rows
        self.mean = self.mean + step * share
        self.count += count

    @property
    def covariance(self) -> DoubleArray:
        """Sample covariance, n - 1 in the denominator: float64 [d, d]."""
        covariance: DoubleArray = self.scatter / (self.count - 1)
        return covariance


@dataclass(frozen=True, slots=True)
class Space:
    """What distances are measured in.

    Attributes:
        centre: Mean of all candidates' samples, float64 [d].
        axes: Leading principal axes of all candidates' samples, float64 [d, q], orthonormal.
        ridge: What is added to the diagonal of each covariance.
        kept: Share of the candidates' variance along the axes.
        corrected: Whether distances are multiplied by (n - q - 2) / (n - 1).
    """

    centre: DoubleArray
    axes: DoubleArray
    ridge: float
    kept: float
    corrected: bool = True

    @classmethod
    def of(cls, pool: Moments, most: int, ridge: float, *, corrected: bool = True) -> Space:
        """Fit the axes.

        Args:
            pool: Moments of all candidates' samples.
            most: How many axes at most; axes without variance are left out.
            ridge: As a share of the mean variance along the axes.
            corrected: See `Space`.

        Raises:
            UserError: All samples are equal.
        """
        variances, axes = np.linalg.eigh(pool.covariance)
        variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
        varied = np.count_nonzero(variances > len(variances) * np.finfo(np.float64).eps * variances[0])
        if not varied:
            raise UserError("all candidates' embeddings are equal", where="selection", todo="choose another encoder")
        count = min(most, varied)
        kept = float(variances[:count].sum() / variances.sum())
        return cls(pool.mean, axes[:, :count].copy(), ridge * float(variances[:count].mean()), kept, corrected)

    def project(self, samples: npt.NDArray[Any]) -> DoubleArray:
        """Return samples [..., d] along the axes, float64 [..., q]."""
        projected: DoubleArray = (samples - self.centre) @ self.axes
        return projected

    def coverage(self, chosen: Moments, target: DoubleArray) -> tuple[float, float]:
        """Return the coverage of a target, and the condition number of the covariance that it was computed with.

        Args:
            chosen: Moments of the projected samples.
            target: The target's mean, projected.

        Raises:
            UserError: There is no ridge, and the covariance is singular.
        """
        q = len(target)
        covariance = chosen.covariance + self.ridge * np.eye(q)
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise UserError(
                f"the covariance of {chosen.count} samples is singular", where="selection", todo="give a ridge above 0"
            ) from error
        white = np.linalg.solve(factor, target - chosen.mean)
        variances = np.linalg.eigvalsh(covariance)
        share = (chosen.count - q - 2) / (chosen.count - 1) if self.corrected else 1.0
        return 1 / max(share * float(white @ white), FLOOR), float(variances[-1] / variances[0])


class Plain(NamedTuple):
    """One value of the dissertation's formula.

    Attributes:
        value: Of any sign where the covariance is singular; NaN where it has no inverse at all.
        fault: Why it means nothing; empty if it may.
    """

    value: float
    fault: str


def plain_coverage(chosen: Moments, target: DoubleArray) -> Plain:
    """Return the dissertation's formula, with the inverse of the whole covariance.

    Args:
        chosen: Moments of the samples, not projected.
        target: The target's mean, float64 [d].
    """
    covariance, step = chosen.covariance, target - chosen.mean
    try:
        inverse = np.linalg.inv(covariance)
    except np.linalg.LinAlgError:
        return Plain(float("nan"), "singular")
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        value = float(1 / np.float64(step @ inverse @ step))
        digits = np.linalg.norm(covariance, 1) * np.linalg.norm(inverse, 1) * np.finfo(np.float64).eps
    if value < 0:
        return Plain(value, "negative")
    if chosen.count <= len(target) or not digits < 1:
        return Plain(value, "singular")
    return Plain(value, "" if np.isfinite(value) else "infinite")


class PlainCurve(NamedTuple):
    """The dissertation's formula over all prefixes; see `Plain`."""

    values: DoubleArray
    faults: tuple[str, ...]
