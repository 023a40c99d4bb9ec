"""Cards: what is known about a model, a method or a task, as data. A misspelt field is an error."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

Capability: TypeAlias = Literal["embed", "dual", "generate", "language", "masked"]
"""The contract that a task needs: ``embed`` (image -> vector), ``dual`` (images and texts -> vectors of one space),
``generate`` (text and images -> text), ``language`` (context and continuation -> log-probability) or ``masked`` (text
with a mask -> logits of label words)."""

Names: TypeAlias = Annotated[frozenset[str], PlainSerializer(sorted, return_type=list[str], when_used="json")]
"""A set of names; files have them in their order, so that equal sets are equal bytes."""


class Card(BaseModel):
    """What every card says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str = ""
    """One sentence for a reader of the board."""
    licence: str = "unknown"
    source: str = ""
    """Where it comes from: URL, paper, or package."""
    revision: str = ""
    """The exact version of ``source``."""
    citation: str = ""


class ModelCard(Card):
    """Card of a model."""

    capabilities: tuple[Capability, ...] = Field(min_length=1)
    training_data: str = "unknown"
    prompts: str = ""
    """How it puts what it is asked, if it is asked texts."""
    decoding: str = ""
    """How its answers are decoded, if it generates."""
    offers: Names = frozenset()
    """Parts that a method may act on, such as ``layers`` or ``visual-tokens``."""
    lacks: Names = frozenset()
    """What tasks of its capabilities may need and it does not take: ``images``, of a model that reads texts alone."""
    needs: Names = frozenset()
    """What a task must offer, such as ``readings``."""
    replays: bool = False
    """Its answers were given elsewhere: it is `Replayed`, and nothing of it is counted or timed."""
    reference: bool = False
    """A baseline such as a constant or random predictor: shown on every board, never ranked first by merit."""


class MethodCard(Card):
    """Card of a method: what it needs, what it changes, and what it goes together with."""

    needs: Names = frozenset()
    """Parts that the model must offer."""
    modifies: Names = frozenset()
    """Parts that it changes. Two methods that change the same part exclude each other ..."""
    combines_with: Names = frozenset()
    """... unless one of them names the other here."""
    reference: bool = False
    """What it makes of a model is a baseline, such as one that sees no image; see `ModelCard.reference`."""
    takes_budget: bool = False
    """It spends a share of what the model spends with everything on; see `harness.methods.Budget`."""


class ReportCard(Card):
    """Card of a report."""

    formats: tuple[str, ...]
    """Endings of the files that it is written to, the usual one first; ``/`` is a folder."""


class FigureCard(Card):
    """Card of a figure."""

    section: str = ""
    """Heading on the board under which its panels stand, if it has any."""


class Metric(BaseModel):
    """How a score is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    unit: Literal["%", ""] = "%"
    """``%``: values are shares in [0, 1] and are shown times 100."""
    better: Literal["higher", "lower", "neither"] = "higher"
    """``neither``: it tells how answers are, not how good, such as a share of "yes"."""
    kind: Literal["mean", "derived"] = "mean"
    """``mean``: over the samples' scores. ``derived``: what `Task.aggregate` makes of them, such as an F1."""


class TaskCard(Card):
    """Card of a task. The first metric is the one that ranks, so it is a mean."""

    capability: Capability
    needs: Names = frozenset()
    """What a model must take besides: ``images``, of a task whose prompts show some."""
    offers: Names = frozenset()
    """What it tells models that need more than its inputs: ``readings``, what operations lead to."""
    metrics: tuple[Metric, ...] = (Metric(name="accuracy"),)
    rule: str = "official"
    """Name of the scoring rule."""
    rule_version: int = 1
    rules: dict[str, int] = {}
    """Rules to choose from by the task's argument ``rule``, each with its version, where there are several."""
    sample_noun: str = "sample"
    """What one sample is called: episode, question."""
    chance: float | None = None
    """Expected first metric of a uniform guess."""
    note: str = ""
    """What a reader of its scores must know."""
    by_arguments: bool = False
    """This is what is listed; the card of a task is what the factory's ``card_for(**arguments)`` returns."""

    @model_validator(mode="after")
    def _ranks_by_a_mean(self) -> TaskCard:
        if not self.metrics or self.metrics[0].kind != "mean" or self.metrics[0].better == "neither":
            raise ValueError("the first metric ranks by paired samples, so it must be a mean, and better high or low")
        return self
