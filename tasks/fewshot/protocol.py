"""What a few-shot task asks, without any library that takes time to import: names are registered with it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.errors import UserError

if TYPE_CHECKING:
    from ...harness.contracts import Json


@dataclass(frozen=True, slots=True)
class Protocol:
    """What an episode is made of. The defaults are the dissertation's target tasks (section 3.4, A.5).

    Attributes:
        ways: Classes in an episode (N).
        shots: Support images of each class (K); 0 where texts stand for them.
        queries: Query images of each class (Q).
        episodes: How many to draw.
    """

    ways: int = 15
    shots: int = 1
    queries: int = 15
    episodes: int = 1500

    def __post_init__(self) -> None:
        for name, least in (("ways", 2), ("shots", 0), ("queries", 1), ("episodes", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(f"{name}={value!r} is not a whole number of at least {least}", where="episodes")

    def predictions(self, output: Json) -> list[int] | None:
        """Return a raw output if it is a list of a class, 0 .. ways - 1, for each query; else ``None``."""
        if not isinstance(output, list) or len(output) != self.ways * self.queries:
            return None
        whole = list(map(type, output)).count(int) == len(output) and _numbers(self.ways).issuperset(output)
        return output if whole else None


@functools.cache
def _numbers(count: int) -> frozenset[int]:
    return frozenset(range(count))


def few_shot_card(summary: str, protocol: Protocol | None = None, /, **fields: Any) -> TaskCard:
    """Return the card of a few-shot task.

    Args:
        summary: What the images are, such as ``Letters of novel scripts``.
        protocol: The protocol that the name fixes, if it fixes one.
        fields: Further fields of the card.
    """
    shape = f", {protocol.ways}-way {protocol.shots}-shot" if protocol else ""
    return TaskCard(
        summary=f"{summary}{shape}: nearest centroid with cosine",
        capability="embed",
        metrics=(Metric(name="accuracy"),),
        rule="nearest-centroid-cosine",
        rule_version=2,
        sample_noun="episode",
        chance=1 / protocol.ways if protocol else None,
        citation="dissertation section 3.4",
        **fields,
    )


def zero_shot_card(summary: str, protocol: Protocol | None = None) -> TaskCard:
    """Return the card of a zero-shot task.

    Args:
        summary: What the images are.
        protocol: Of its episodes; without it, each image is classified among all classes.
    """
    shape = f", {protocol.ways}-way" if protocol else ", among all classes"
    return TaskCard(
        summary=f"{summary}{shape}: nearest text centroid with cosine",
        capability="dual",
        metrics=(Metric(name="accuracy"),),
        rule="nearest-text-centroid-cosine",
        sample_noun="episode" if protocol else "image",
        chance=1 / protocol.ways if protocol else None,
        citation="dissertation A.7.1",
        by_arguments=True,
    )
