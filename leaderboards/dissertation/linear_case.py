"""The linear case study of multitask finetuning (dissertation, sections 3.3.1 and A.4), which can be computed exactly.

A latent class is a vector z of d features, each -1, 1 or 0. A task tells two classes apart, and all that matters of it
is their difference z - z'. A model is a matrix phi with Frobenius norm of at most R = 1. With the best head of norm
B = 1, its loss on a task is -||phi (z - z')|| / 2 (A.69). Finetuning tasks are pairs of different classes; the target
task is one that differs in one feature only, covered if the classes have that feature too.

Everything is float64. Differences are rows, [tasks, d]. The dictionary Q is the identity but where `samples` are drawn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[np.float64]

FEWEST = 3
"""Classes: two would differ in every feature, against Assumption A.4.2."""

# --- classes and tasks ---


def classes(k: int, d: int) -> Array:
    """Return the classes of section 3.3.1 [k, d]: ones on the first k features, each class with one of them turned.

    Raises:
        ValueError: k is not within 3 and d.
    """
    if not FEWEST <= k <= d:
        raise ValueError(f"{k} classes of {d} features; {FEWEST} to {d} are possible")
    return np.eye(k, d) * -2 + (np.arange(d) < k)


def differences(latent: Array) -> Array:
    """Return the differences [k (k - 1) / 2, d] of classes [k, d], each pair once."""
    one, other = np.triu_indices(len(latent), 1)
    return latent[one] - latent[other]


def target(feature: int, d: int) -> Array:
    """Return the difference [1, d] of two classes that are told apart by one feature, counted from 0."""
    return 2 * np.eye(1, d, feature)


def loss(phi: Array, tasks: Array) -> float:
    """Return the mean loss (A.69) of a model [d, d] over equally likely tasks [tasks, d]."""
    return -float(np.linalg.norm(tasks @ phi.T, axis=1).mean()) / 2


# --- the best models ---


def best_diagonal(features: Sequence[int], d: int) -> Array:
    """Return the model of Lemma A.4.3 [d, d]: equal weights on the features of the classes. The best diagonal one."""
    phi = np.zeros((d, d))
    phi[list(features), list(features)] = 1 / math.sqrt(len(features))
    return phi


def best_matrix(k: int, d: int) -> Array:
    """Return the best model [d, d] for the tasks of `classes`, of all matrices.

    It leaves out the direction of ones, in which no two classes differ. No matrix is better than `least_loss`, and this
    one is as good.
    """
    phi = np.zeros((d, d))
    phi[:k, :k] = (np.eye(k) - 1 / k) / math.sqrt(k - 1)
    return phi


def least_loss(tasks: Array) -> float:
    """Return a loss that no model of norm 1 is below: Jensen's inequality on the norm."""
    return -math.sqrt(float(np.linalg.eigvalsh(tasks.T @ tasks / len(tasks))[-1])) / 2


def sign_symmetric_loss(k: int) -> float:
    """Return the least loss if z and z' are drawn from {-1, 1}^k independently (Remark A.4.1), exactly.

    It is that of equal weights: these tasks are symmetric in signs too, as Lemma A.4.3 needs.
    """
    return -math.fsum(math.comb(k, differing) * math.sqrt(differing / k) for differing in range(k + 1)) / 2.0**k


# --- consistency ---


def kappa(phi: Array, tasks: Array) -> float:
    """Return the consistency of Definition 3.3.3 for one target task [1, d]: what a model loses to the best one."""
    return loss(phi, tasks) + float(np.linalg.norm(tasks)) / 2


def printed_kappa(n0: int, k0: int, ne: int, ke: int) -> float:
    """Return what (A.72) gives.

    Args:
        n0: Features in which the target's two classes differ.
        k0: Features of the target's classes.
        ne: Those of n0 that the finetuning tasks have too.
        ke: Features of the finetuning tasks.
    """
    return math.sqrt(n0 / k0) - math.sqrt(ne / ke)


# --- diversity ---


def ratio(k: int, weight: float, *, covered: bool) -> float:
    """Return the ratio whose infimum over models is nu (Definition 3.3.2), for the diagonal models of the proofs.

    Args:
        k: Features of the finetuning tasks.
        weight: What the model gives to the target's feature, 0 to 1; the others of the k features share the rest.
            Not that of the best model, where both differences are 0: 1 / sqrt(k) if covered, else 0.
        covered: Whether the target's feature is one of the k: (A.81) is at weight 0. Else (A.80).
    """
    best, rest = math.sqrt(2 / k), 1 - weight**2
    if not covered:
        return best * (1 - math.sqrt(rest)) / weight
    with_it = 2 / k * math.sqrt(weight**2 + rest / (k - 1))
    without = (k - 2) / k * math.sqrt(2 * rest / (k - 1))
    return (best - with_it - without) / abs(weight - 1 / math.sqrt(k))


def printed_nu(k: int) -> float:
    """Return the lower bound of nu that Theorem 3.3.6 prints."""
    return (2 * math.sqrt(2) - 2) / (k - 1)


# --- what task selection sees ---


def coverage(mean: Array, features: Sequence[int], noise: float) -> float:
    """Return the coverage (section 3.3.2) of a target by many samples of classes from {-1, 1}^k, exactly.

    Args:
        mean: Of the target's latent classes [d].
        features: Those k of the classes; the others are 0.
        noise: Standard deviation of e in x = Q z + e, above 0.
    """
    variances = np.full(len(mean), noise**2)
    variances[list(features)] += 1
    return 1 / float(np.sum(mean**2 / variances))


def samples(features: Sequence[int], dictionary: Array, noise: float, count: int, seed: int) -> Array:
    """Draw x = Q z + e [count, d], z from {-1, 1}^k on some features and e normal; the dictionary Q is [d, d]."""
    draw = np.random.default_rng(seed)
    latent = np.zeros((count, len(dictionary)))
    latent[:, list(features)] = draw.choice([-1.0, 1.0], (count, len(features)))
    return latent @ dictionary.T + noise * draw.standard_normal(latent.shape)
