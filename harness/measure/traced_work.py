"""What is left of the operators of a model without a closed form, once methods have done their part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..execution import Execution, LayerWork
    from ..transformer import Architecture, Stack
    from .closed_form import Operator
    from .parallel import Cards
    from .traced import Layered

_OF_IMAGES = ("vision", "projector")
_OF_TEXTS = ("encoder", "text")
_MANY = 128
"""Tokens that are sent to more experts than any model has."""


class Kept(NamedTuple):
    """Numbers that a prompt leaves for the tokens to come.

    Attributes:
        layers: Of each layer: keys and values, of a window those of the whole (`Stack.seen`).
        states: Of each layer: recurrent states.
        latent: Of a token in each layer, where attention needs only what keys and values are made of.
    """

    layers: tuple[int, ...]
    states: tuple[int, ...] = ()
    latent: int | None = None


class Traced(Protocol):
    """The operators of a model that has no closed form."""

    @property
    def image(self) -> Layered:
        """Of one image."""
        ...

    def outline(self) -> Architecture:
        """Its shape, as far as methods need it."""
        ...

    def prompt(self, tokens: int) -> Layered:
        """Of a prompt, with logits at each of its tokens."""
        ...

    def logits(self, tokens: int) -> int:
        """At how many positions such a pass makes logits."""
        ...

    def step(self, context: int) -> Layered:
        """Of a token that follows ``context`` tokens."""
        ...

    def kept(self, tokens: int) -> Kept:
        """What a prompt leaves for the tokens to come."""
        ...

    @property
    def parameters(self) -> int:
        """Numbers of all weights."""
        ...

    @property
    def active(self) -> int:
        """Numbers of the weights that one token meets."""
        ...

    @property
    def table(self) -> int:
        """Numbers of the embedding table, if it is not the head."""
        ...


@dataclass(frozen=True, slots=True)
class TracedWork:
    """One prompt's work, of which methods have left something.

    Attributes:
        traced: Whose operators.
        tower: What runs of the vision tower; ``None`` if there is no image.
        execution: What runs of the language model; ``None`` for a model without one.
        images: Of the prompt.
        tokens: That enter the language model, or the tower of texts.
        stack: The language model's layers; ``None`` for a model without one.
        skips: Whether attention skips what lies outside of a window.
        projected: The share of the visual tokens that the projector reads.
    """

    traced: Traced
    tower: Execution | None
    execution: Execution | None
    images: int
    tokens: int
    stack: Stack | None
    skips: bool = False
    projected: Fraction = Fraction(1)

    def of_images(self) -> Iterator[Operator]:
        """The operators of the images."""
        if self.tower is None:
            return
        running = {layer.layer for layer in self.tower.layers}
        image = self.traced.image
        yield from (one.times(self.images) for one in image.beside.get("vision", ()))
        for place, layer in enumerate(image.layers.get("vision", ())):
            if place in running:
                yield from (one.times(self.images) for one in layer)
        yield from (_rows(one.times(self.images), self.projected) for one in image.whole("projector"))
        for one in self.traced.image.whole("head"):  # of classes
            yield replace(one.times(self.images), phase="vision", module="head")

    def of_prompt(self) -> Iterator[Operator]:
        """The operators of the prompt, up to the logits of the first answer token."""
        if not self.tokens:
            return
        whole = self.traced.prompt(self.tokens)
        for phase in (*_OF_IMAGES, *_OF_TEXTS):  # of images, where one pass reads them beside the text
            yield from whole.whole(phase)
        if self.execution is None:
            return
        yield from whole.beside.get("prefill", ())
        for layer in self.execution.layers:
            yield from self._partly(self._within_window(layer), layer)
        yield from _head(whole.whole("head"), self.traced.logits(self.tokens))

    def of_whole_prompt(self) -> Iterator[Operator]:
        """The operators of a prompt that reaches all experts, with nothing switched off."""
        tokens = max(self.tokens, _MANY)
        whole = self.traced.prompt(tokens)
        for phase in (*_OF_TEXTS, "prefill"):
            yield from whole.whole(phase)
        yield from _head(whole.whole("head"), self.traced.logits(tokens))

    def of_token(self) -> Iterator[Operator]:
        """The operators of the second answer token."""
        step = self.traced.step(self.tokens)
        for operator in (*step.beside.get("prefill", ()), *_head(step.whole("head"), 1)):
            yield replace(operator, phase="decode")
        for layer in self.execution.layers if self.execution else ():
            layers = self.traced.step(layer.tokens).layers.get("prefill", ())
            for operator in self._partly(layers[layer.layer] if layers else (), layer):
                yield replace(operator, phase="decode")

    def kept(self, layer: LayerWork, cards: Cards) -> int:
        """Numbers that a layer keeps of the prompt on one card: keys and values, within windows; latents; states."""
        kept = self.traced.kept(layer.tokens)
        if kept.latent is not None:  # of all heads together
            return kept.latent * layer.tokens
        if layer.layer >= len(kept.layers):
            return 0
        cached, state = (self._of_heads(one[layer.layer], layer) for one in (kept.layers, kept.states))
        if self.stack is None or not any(operator.shard == "inside" for operator in self._layer(layer)):
            return cached + state
        return ceil(cached * cards.of_keys(self.stack)) + ceil(Fraction(state, cards.tensor))

    def _of_heads(self, kept: int, layer: LayerWork) -> int:
        """Of what a layer keeps, what its query heads that run need."""
        if self.stack is None:
            return kept
        shared = self.stack.kv_heads
        return kept * -(-shared * layer.heads // self.stack.heads) // shared

    def written(self, layer: LayerWork, cards: Cards) -> int:
        """Numbers that a layer writes on one card."""
        every = self._layer(layer)
        return sum((cards.share(one, self.stack) if self.stack else one).written for one in every)

    def _layer(self, layer: LayerWork) -> tuple[Operator, ...]:
        return self.traced.prompt(layer.tokens).layers["prefill"][layer.layer]

    def _within_window(self, layer: LayerWork) -> Iterator[Operator]:
        """A layer whose attention skips what lies outside of its window, if it does."""
        tokens = layer.tokens
        bound = self.skips and self.stack is not None and self.stack.seen(layer.layer, tokens) < tokens
        pairs = self.stack.pairs(layer.layer, tokens) if bound and self.stack else tokens**2
        for operator in self._layer(layer):
            inside = _attends(operator) and not operator.weights
            yield replace(operator, flops=operator.flops * pairs // tokens**2) if inside else operator

    def _partly(self, own: Iterable[Operator], layer: LayerWork) -> Iterator[Operator]:
        """A layer of which only some heads, and some of the MLP's channels, run."""
        heads = layer.heads / self.stack.heads if self.stack else 1.0
        for operator in own:
            share = heads if _attends(operator) else float(layer.mlp)
            yield operator if share == 1 else _share(operator, share)


def _attends(operator: Operator) -> bool:
    return "att" in operator.path.rpartition("layers.")[2]


def _share(operator: Operator, share: float) -> Operator:
    flops, weights = round(operator.flops * share), round(operator.weights * share)
    return replace(operator, flops=flops, weights=weights, read=round(operator.read * share), shape=None)


def _rows(operator: Operator, share: Fraction) -> Operator:
    """The operator on a share of its rows."""
    flops, read, written = (int(value * share) for value in (operator.flops, operator.read, operator.written))
    return replace(operator, flops=flops, read=read, written=written)


def _head(own: Iterable[Operator], positions: int) -> Iterator[Operator]:
    """Logits at one of ``positions`` positions."""
    for operator in own:
        yield replace(_rows(operator, Fraction(1, positions)), phase="prefill", module="head", shard="column")
