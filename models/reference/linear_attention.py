"""Linear self-attention, of which the dissertation proves when it composes two simple tasks (sections 4.4, B.3, B.4).

    python -m adaptbench.models.reference.linear_attention

prints what the text states beside what the arithmetic gives.

A prompt is N demonstrations (x, y), y = W x, and a query. Stacked as columns they make E; the query's y is 0. The
network gives E + W_PV E E' W_KQ E / N, of which the last column's label is the answer. With W_PV picking the labels and
U the block of W_KQ between inputs, the answer is linear in the query: W_hat x_q with W_hat = (1/N) sum of y x' U. So a
model here is its matrix U, and what it has learned from a prompt is W_hat.

Everything is float64 and batched: leading axes are prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np
import typer

from ...harness.cli.output import write_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[np.float64]
    Rows: TypeAlias = list[tuple[str, ...]]

# --- the model ---


def gamma(covariance: Array, count: int) -> Array:
    """Return (1 + 1/N) Lambda + tr(Lambda)/N I, the inverse of the best U (Lemma B.4.1).

    Args:
        covariance: Lambda [d, d], of the inputs.
        count: N, demonstrations in a prompt.
    """
    trace = float(np.trace(covariance))
    return (1 + 1 / count) * covariance + trace / count * np.eye(len(covariance))


def best_key_query(covariance: Array, count: int, rank: int | None = None) -> Array:
    """Return U [d, d], the minimum of the pretraining loss among matrices of a rank (Lemmas B.4.1 and B.4.4).

    Args:
        covariance: Lambda [d, d], of the inputs.
        count: N, demonstrations in a prompt.
        rank: Directions that are kept, those of the largest eigenvalues; all if None.
    """
    values, vectors = np.linalg.eigh(gamma(covariance, count))  # Lambda has the same vectors, in the same order
    kept = slice(None) if rank is None else slice(len(values) - rank, None)
    best: Array = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return best


def learned(inputs: Array, labels: Array, key_query: Array) -> Array:
    """Return W_hat [..., K, d]: what the model takes W to be after its demonstrations.

    Args:
        inputs: x [..., N, d].
        labels: y [..., N, K].
        key_query: U [d, d].
    """
    guess: Array = np.swapaxes(labels, -1, -2) @ inputs @ key_query / inputs.shape[-2]
    return guess


def predict(inputs: Array, labels: Array, queries: Array, key_query: Array) -> Array:
    """Return the answers [..., Q, K] to queries [..., Q, d], each asked alone; the others as for ``learned``."""
    return queries @ np.swapaxes(learned(inputs, labels, key_query), -1, -2)


def right(answers: Array, truth: Array) -> Array:
    """Return the share of labels [...] whose sign is right, of answers [..., K]; 0 is wrong (section 4.4.1)."""
    share: Array = np.mean(np.sign(answers) == np.sign(truth), axis=-1)
    return share


def expected_right(weights: Array, guess: Array, covariance: Array | None = None) -> Array:
    """Return what ``right`` is on average over normal queries [...], exactly.

    Two linear functions of a normal vector differ in sign with the probability angle / pi, as in Lemma B.4.2.

    Args:
        weights: W [..., K, d].
        guess: W_hat [..., K, d]; a row of zeros answers 0, which is wrong.
        covariance: Lambda [d, d] of the queries; the identity if None.
    """
    shares = 1 - np.arccos(np.clip(cosine(weights, guess, covariance), -1, 1)) / np.pi
    share: Array = np.mean(np.where(guess.any(axis=-1), shares, 0.0), axis=-1)
    return share


def cosine(a: Array, b: Array, covariance: Array | None = None) -> Array:
    """Return the cosines [...] of vectors [..., d], in the inner product a' Lambda b; 0 where one of them is 0."""
    metric = np.eye(a.shape[-1]) if covariance is None else covariance
    lengths: Array = np.sqrt(np.sum(a @ metric * a, axis=-1) * np.sum(b @ metric * b, axis=-1))
    product: Array = np.sum(a @ metric * b, axis=-1)
    return np.where(lengths > 0, product / np.where(lengths > 0, lengths, 1.0), 0.0)


# --- the toy of section B.3.2 ---

TOY = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
"""W: the colour and the shape of red, blue, circle, square, which are the unit vectors."""
CONTEXTS = {"red, blue": (0, 1), "square, circle": (3, 2), "red, circle": (0, 2), "all four": (0, 1, 2, 3)}
"""What is demonstrated -> the unit vectors that are shown."""
COMPOSITES = {"red circle": (0, 2), "red square": (0, 3), "blue circle": (1, 2), "blue square": (1, 3)}
"""What is asked -> the unit vectors whose sum it is."""


def composites() -> Array:
    """Return the toy's four queries [4, 4], in the order of ``COMPOSITES``."""
    return np.array([np.eye(4)[list(parts)].sum(axis=0) for parts in COMPOSITES.values()])


def toy_answers(context: str, covariance: Array | None = None) -> Array:
    """Return the answers [4, 2] to the four composites after one of ``CONTEXTS``.

    Args:
        context: What is demonstrated.
        covariance: Lambda [4, 4]; the identity if None, as the text gives none.
    """
    shown = np.eye(4)[list(CONTEXTS[context])]
    key_query = best_key_query(np.eye(4) if covariance is None else covariance, len(shown))
    return predict(shown, shown @ TOY.T, composites(), key_query)


# --- two random simple tasks (Theorem 4.4.4) ---


@dataclass(frozen=True)
class Pair:
    """Two simple tasks, each of which depends on a half of the inputs of its own, with random weights.

    Args:
        count: N, demonstrations of each simple task; an even number.
        half: Inputs that a task depends on; d is twice that.
        leak: Norm of a demonstration outside its task's half, delta in Definition 4.4.3, in a random direction. None:
            supports overlap, demonstrations fill both halves.
        labels: ``both``: y = W x, as in the proofs. ``own``: a demonstration has only its own task's label, the other
            is 0, as section 4.4.1 says.
        covariance: Lambda [d, d] of the composite's inputs; the identity if None.
        tasks: Pairs of tasks that are drawn.
        seed: Of all that is drawn.
    """

    count: int = 20
    half: int = 5
    leak: float | None = 0.0
    labels: Literal["both", "own"] = "both"
    covariance: Array | None = None
    tasks: int = 2000
    seed: int = 0


class Accuracies(NamedTuple):
    """Expected accuracy on the composite, [tasks] each, by what was demonstrated."""

    first: Array
    """N demonstrations of the first simple task."""
    second: Array
    union: Array
    """The same N of each."""
    mixed: Array
    """N in all, half of them of each task."""


def accuracies(pair: Pair) -> Accuracies:
    """Draw tasks and demonstrations, and return what the best model of full rank gets right."""
    draw = np.random.default_rng(pair.seed)
    d, n = 2 * pair.half, pair.count
    covariance = np.eye(d) if pair.covariance is None else pair.covariance
    active = np.repeat(np.eye(2, dtype=bool), pair.half, axis=1)  # [task, d]
    weights = active * draw.standard_normal((pair.tasks, 2, d))
    x = draw.standard_normal((pair.tasks, 2, n, d)) @ np.linalg.cholesky(covariance).T  # [tasks, simple task, N, d]
    if pair.leak is not None:
        inside = active[:, None, :]
        outside = np.where(inside, 0.0, x)
        x = np.where(inside, x, pair.leak * outside / np.linalg.norm(outside, axis=-1, keepdims=True))
    y = x @ np.swapaxes(weights, -1, -2)[:, None]
    if pair.labels == "own":
        y = y * np.eye(2)[:, None, :]
    key_query = best_key_query(covariance, n)

    def after(tasks: slice, shown: slice) -> Array:
        inputs, labels = (part[:, tasks, shown].reshape(pair.tasks, -1, part.shape[-1]) for part in (x, y))
        return expected_right(weights, learned(inputs, labels, key_query), covariance)

    every = slice(None)
    return Accuracies(
        after(slice(0, 1), every), after(slice(1, 2), every), after(every, every), after(every, slice(n // 2))
    )


# --- models of low rank (Theorem B.3.1) ---


class Ranks(NamedTuple):
    """What models of rank 1 to d do with one simple task; queries are isotropic, as in Lemma B.4.2."""

    accuracy: Array
    """[d, tasks]."""
    cosine: Array
    """Of w and w_hat [d, tasks]."""
    product: Array
    """<w, w_hat> [d, tasks]."""
    trace: Array
    """tr(U Lambda) [d] with the U of Lemma B.4.4: the bound."""
    printed: Array
    """[d]: the sum that the proof of Theorem B.3.1 prints for it."""


def ranks(eigenvalues: Sequence[float], count: int = 40, tasks: int = 2000, seed: int = 0) -> Ranks:
    """Draw tasks and demonstrations, and ask models of every rank about them.

    Args:
        eigenvalues: Of Lambda, largest first.
        count: N, demonstrations.
        tasks: Tasks that are drawn.
        seed: Of all that is drawn.
    """
    draw = np.random.default_rng(seed)
    values = np.array(eigenvalues, dtype=np.float64)
    d = len(values)
    weights = draw.standard_normal((tasks, 1, d))
    inputs = draw.standard_normal((tasks, count, d)) * np.sqrt(values)
    labels = inputs @ np.swapaxes(weights, -1, -2)
    models = [best_key_query(np.diag(values), count, rank) for rank in range(1, d + 1)]
    guesses = [learned(inputs, labels, model) for model in models]
    return Ranks(
        accuracy=np.stack([expected_right(weights, guess) for guess in guesses]),
        cosine=np.stack([cosine(weights, guess)[:, 0] for guess in guesses]),
        product=np.stack([np.sum(weights * guess, axis=(-2, -1)) for guess in guesses]),
        trace=np.array([np.trace(model @ np.diag(values)) for model in models]),
        printed=np.array(
            [np.sum(count * values[:r] / ((count + 1) * values[:r] + values[:r].sum())) for r in range(1, d + 1)]
        ),
    )


# --- what the text says, and whether it is so ---


class Claim(NamedTuple):
    """A statement of the text."""

    where: str
    says: str
    holds: bool

    @property
    def verdict(self) -> str:
        """In words."""
        return "holds" if self.holds else "does not hold literally"


def at_most(a: Array, b: Array | float) -> bool:
    """Whether the mean of a - b is not above 0, up to four standard errors of paired draws."""
    difference = a - b
    # Equal numbers may differ in their rounding, which has next to no standard error.
    return bool(difference.mean() <= 4 * difference.std(ddof=1) / np.sqrt(len(difference)) + 1e-12)


def equal(a: Array, b: Array | float) -> bool:
    """Whether the means are equal, up to four standard errors of paired draws."""
    return at_most(a, b) and at_most(-a, -b)


def sign_claims() -> list[Claim]:
    """Section B.3.2."""
    asked = list(CONTEXTS)[:3]
    answers = np.array([toy_answers(context)[0] for context in asked])
    text = np.array([[1, 0], [0, 1], [1, 1]])
    scores = {context: right(toy_answers(context), composites() @ TOY.T) for context in CONTEXTS}
    colour, shape, both, every = scores.values()
    return [
        Claim("B.3.2", "a red circle gives (1, 0), (0, 1), (1, 1)", np.allclose(answers, text)),
        Claim("B.3.2", "the same up to the factor 1/7", np.allclose(7 * answers, text)),
        Claim("B.3.2", "red, circle: both labels of a red circle are right", both[0] == 1),
        Claim("B.3.2", "red, circle: better than red, blue over the four composites", both.mean() > colour.mean()),
        Claim("4.4.4", "all four: Acc(S1) + Acc(S2) <= Acc(S1 u S2)", colour.mean() + shape.mean() <= every.mean()),
    ]


def confined_claims(found: Accuracies) -> tuple[Claim, Claim]:
    """Theorem 4.4.4, whose two forms are these."""
    single = (found.first, found.second)
    return (
        Claim("4.4.1", "max(Acc(S1), Acc(S2)) <= Acc(S1 u S2)", all(at_most(one, found.union) for one in single)),
        Claim("4.4.4", "Acc(S1) + Acc(S2) <= Acc(S1 u S2)", at_most(found.first + found.second, found.union)),
    )


def overlapping_claims(found: Accuracies) -> tuple[Claim, Claim, Claim]:
    """The statement on supports that overlap (section 4.4.2)."""
    return (
        Claim("4.4.2", "Acc(S1) = Acc(S2)", equal(found.first, found.second)),
        Claim("4.4.2", "Acc(S1) = Acc(S1 u S2), of 2N demonstrations", equal(found.first, found.union)),
        Claim("4.4.2", "Acc(S1) = Acc(S1 u S2), of N demonstrations", equal(found.first, found.mixed)),
    )


def rank_claims(found: Ranks) -> list[Claim]:
    """Section B.3.1, with Lemma B.4.2 and the proof of Theorem B.3.1."""
    pairs = zip(found.accuracy[:-1], found.accuracy[1:], strict=True)
    rises = all(at_most(low, high) and not equal(low, high) for low, high in pairs)
    below = [at_most(accuracy, trace) for accuracy, trace in zip(found.accuracy, found.trace, strict=True)]
    products = [equal(product, trace) for product, trace in zip(found.product, found.trace, strict=True)]
    cosines = [equal(cosines, trace) for cosines, trace in zip(found.cosine, found.trace, strict=True)]
    return [
        Claim("B.3.1", "accuracy rises with the rank", rises),
        Claim("B.3.1", "the bound, the trace, rises with the rank", bool(np.all(np.diff(found.trace) > 0))),
        Claim("B.4.2", "E<w, w_hat> = trace", all(products)),
        Claim("B.12", "E cos(w, w_hat) = trace", all(cosines)),
        Claim("B.4.2", "accuracy <= trace", all(below)),
        Claim("B.4.2", "this bound is below 1 at every rank, and so says something", bool(np.all(found.trace < 1))),
        Claim("B.3.1", "the sum printed in the proof is the trace", np.allclose(found.printed, found.trace)),
    ]


# --- the report ---


def main() -> None:
    """Write the four tables and the verdicts."""
    for title, rows in (*_sign_report(), *_pair_report(), *_rank_report()):
        typer.echo(title)
        write_columns(rows)
        typer.echo()


def _verdicts(claims: Sequence[Claim]) -> Rows:
    return [(claim.verdict, claim.where, claim.says) for claim in claims]


def _sign_report() -> Iterator[tuple[str, Rows]]:
    rows: Rows = [("shown", "answers to " + next(iter(COMPOSITES)), *list(COMPOSITES)[1:], "times", "accuracy")]
    for context, shown in CONTEXTS.items():
        answers = toy_answers(context)
        factor = round(1 / np.abs(answers).max())
        cells = [f"({a:+.0f}, {b:+.0f})".replace("+0", "0").replace("-0", "0") for a, b in factor * answers]
        score = right(answers, composites() @ TOY.T).mean()
        rows.append((f"{context} (N={len(shown)})", *cells, f"1/{factor}", f"{score:.2f}"))
    yield "Sign tables (B.3.2), Lambda = I", rows
    yield "Statements", _verdicts(sign_claims())


def _pair_report() -> Iterator[tuple[str, Rows]]:
    base = Pair()
    size = f"Lambda = I, d = {2 * base.half}, {base.tasks} pairs of tasks"
    columns = ("Acc(S1)", "Acc(S2)", "sum", "union of 2N")
    rows: Rows = [("N", "leak", "labels", *columns, "max form (4.4.1)", "additive form (4.4.4)")]
    cases = [Pair(count=count) for count in (10, 20, 40, 80)]
    cases += [Pair(leak=leak) for leak in (0.001, 0.05, 1.0)]
    cases += [Pair(leak=leak, labels="own") for leak in (1.0, None)]
    for pair in cases:
        found = accuracies(pair)
        verdicts = [claim.verdict for claim in confined_claims(found)]
        leak = "overlapping" if pair.leak is None else f"{pair.leak:g}"
        rows.append((str(pair.count), leak, pair.labels, *_figures(found), *verdicts))
    yield f"Confined support (Theorem 4.4.4), {size}", rows
    rows = [("N", *columns, "union of N", "S1 = S2", "S1 = union of 2N", "S1 = union of N")]
    for count in (10, 40, 160):
        found = accuracies(Pair(leak=None, count=count))
        verdicts = [claim.verdict for claim in overlapping_claims(found)]
        rows.append((str(count), *_figures(found), f"{found.mixed.mean():.3f}", *verdicts))
    yield f"Overlapping support (section 4.4.2), {size}", rows


def _figures(found: Accuracies) -> list[str]:
    first, second, union, _ = (part.mean() for part in found)
    return [f"{value:.3f}" for value in (first, second, first + second, union)]


def _rank_report() -> Iterator[tuple[str, Rows]]:
    cases = {
        "Lambda = I, N = 40": ([1.0] * 8, 40),
        "Lambda = diag(1, 1/2, ..., 1/128), N = 40": ([2.0**-i for i in range(8)], 40),
        "Lambda = I, N = 8": ([1.0] * 8, 8),
    }
    for name, (eigenvalues, count) in cases.items():
        found = ranks(eigenvalues, count)
        means = zip(found.accuracy.mean(axis=1), found.cosine.mean(axis=1), found.trace, found.printed, strict=True)
        rows: Rows = [("rank", "accuracy", "mean cosine", "trace (B.4.4)", "printed sum (B.3.1)")]
        rows += [(str(r + 1), *(f"{value:.3f}" for value in line)) for r, line in enumerate(means)]
        yield f"Rank (B.3.1), {name}, d = 8, {found.accuracy.shape[1]} tasks", rows
        yield "Statements", _verdicts(rank_claims(found))


if __name__ == "__main__":
    main()
