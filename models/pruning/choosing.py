"""Selectors that say which patches are kept; all else is done here, once for all of them.

Indices are checked, sorted as in the image and gathered; of equal scores the first is kept. Tokens that are made of
other patches, or of none, stand before or after those that are kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pydantic import Field

from ...adapters.tower_signals import Query, Signals, TowerSignals, Views, check_kind, check_tower, received_flops
from ...harness.errors import UserError
from ...harness.methods import Selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ...harness.measure.work import Work
    from ...harness.transformer import Architecture


class Added(NamedTuple):
    """Features [images, m, width] of tokens beside the patches.

    Attributes:
        before: In front of the kept patches.
        after: Behind them.
        places: Of those behind, the patches whose places in the image they take, int64 [images, m].
    """

    before: torch.Tensor | None = None
    after: torch.Tensor | None = None
    places: torch.Tensor | None = None


class OfTower(Selector):
    """A selector that needs nothing but what a tower says of an image, and so takes any tower that says it."""

    def of_images(self, tower: Signals) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features [images, n, width] that are left, and which patches' places they take.

        The places are int64 [images, n - b], those of the b tokens in front left out: there are none in a model whose
        tokens have places.
        """
        raise NotImplementedError

    def left(self, tower: Signals | Views) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `of_images`; of an image in several views what is left of them, one after the other."""
        import torch

        if not isinstance(tower, Views):
            return self.of_images(tower)
        every = zip(self.by_view(tower), tower.every, strict=True)
        left = [one.of_images(view) for one, view in every if one]
        return torch.cat([features for features, _ in left], dim=1), torch.cat([places for _, places in left], dim=1)

    def by_view(self, tower: Views) -> Sequence[Self | None]:
        """Return what chooses in each view of an image, ``None`` where nothing is kept."""
        return self.shared([view.features.shape[1] for view in tower.every])

    def shared(self, tokens: Sequence[int]) -> Sequence[Self | None]:
        """Return what chooses in views of some numbers of tokens, whatever they show.

        Raises:
            UserError: An option does not fit, or it cannot be shared.
        """
        what = f"{type(self).__name__} cannot be shared by the {len(tokens)} views of an image"
        raise UserError(what, todo="choose another method")

    def choosing(self, model: Architecture, left: int) -> int:
        """Return `flops`, view by view where an image has several."""
        vision = model.vision
        if vision is None or not vision.views:
            return super().choosing(model, left)
        apart = replace(model, vision=replace(vision, views=(), tiles=1))
        every = zip(self.shared(vision.views), vision.views, strict=True)
        return sum(one.flops(replace(apart, visual_tokens=own), one.kept(own)) for one, own in every if one)

    def __call__(self, llava: Any, pixels: torch.Tensor, questions: Sequence[str] = ()) -> Any:
        """Return the features [images, n, width] that the projector is given."""
        return self.of_images(TowerSignals(llava, pixels, questions))[0]


class TokenChoice(OfTower):
    """Keep some patches of each image, in their order in the image."""

    def choose(self, tower: Signals) -> torch.Tensor:
        """Return which patches are kept: int64 [images, n], each once, in any order."""
        raise NotImplementedError

    def added(self, tower: Signals, kept: torch.Tensor) -> Added:  # noqa: ARG002 - this is the default
        """Return further tokens.

        Args:
            tower: What it says of the images.
            kept: int64 [images, n], in order.
        """
        return Added()

    def check(self, tower: Signals) -> None:
        """Refuse options that do not fit the tokens of images."""
        self.kept(tower.features.shape[1])

    def origins(self, tower: Signals) -> list[torch.Tensor]:
        """Return for each image which patch each token is that is left, int64 [n]; -1 for tokens that are added."""
        from torch.nn.functional import pad

        chosen = self._chosen(tower)
        before, after, _ = self.added(tower, chosen)
        counts = [0 if part is None else part.shape[1] for part in (before, after)]
        return list(pad(chosen, counts, value=-1))

    def of_images(self, tower: Signals) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features that are left, and which patches' places they take."""
        import torch

        chosen = self._chosen(tower)
        features = tower.features.gather(1, chosen[..., None].expand(-1, -1, tower.features.shape[-1]))
        before, after, places = self.added(tower, chosen)
        parts = [part.to(features.dtype) for part in (before, features, after) if part is not None]
        return torch.cat(parts, dim=1), chosen if places is None else torch.cat([chosen, places], dim=1)

    def _chosen(self, tower: Signals) -> torch.Tensor:
        """The patches that are kept, in order, int64 [images, n]."""
        self.check(tower)
        chosen = self.choose(tower).sort(dim=1).values
        if bool((chosen.diff(dim=1) <= 0).any()):
            raise UserError(f"{type(self).__name__} chose a patch twice", todo="choose each once")
        return chosen


class KeptTokens(TokenChoice):
    """A choice of a given number of patches."""

    size_options = ("keep",)

    keep: int = Field(64, ge=1)
    """How many visual tokens of each image are kept."""

    def kept(self, given: int) -> int:
        """Return ``keep``, if an image has that many."""
        if self.keep > given:
            raise UserError(f"cannot keep {self.keep} of {given} visual tokens", todo=f"give keep from 1 to {given}")
        return self.keep

    def shared(self, tokens: Sequence[int]) -> Sequence[Self | None]:
        """Return what keeps a share of ``keep`` in each view, as equal as the views allow."""
        counts = shares(self.kept(sum(tokens)), [1] * len(tokens), tokens)
        return [self.model_copy(update={"keep": count}) if count else None for count in counts]


class AttendedTokens(TokenChoice):
    """A choice by how much patches are attended to in one block of the tower."""

    layer: int = -2
    """The block of the tower whose attention is read; -2 is the one that gives LLaVA's features."""
    query: Query = "cls"
    """Whose attention is read; mean is for a tower without CLS token (SigLIP)."""

    def apply(self, model: Any) -> Any:
        """Return the model with this selector."""
        check_kind(model.module.model, self._where)
        check_tower(model.architecture, query=self.query, layer=self.layer, where=self._where)
        return super().apply(model)

    def leaves(self, work: Work) -> Work:
        """Return the work on a shorter prompt."""
        check_tower(work.model, query=self.query, layer=self.layer, where=self._where)
        return super().leaves(work)

    def flops(self, model: Architecture, left: int) -> int:  # noqa: ARG002 - all patches are compared
        """FLOPs of a row of attention, or of the whole map."""
        return received_flops(model.vision, self.query)  # type: ignore[arg-type] # a tower gave the tokens

    @property
    def _where(self) -> str:
        return f"method {type(self).__name__.lower()}"


def feature_width(model: Architecture) -> int:
    """Numbers of a token's features, as the projector is given them, or without one the language model."""
    return model.projector[0].inputs if model.projector else model.language.stack.hidden  # type: ignore[union-attr]


def highest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return the places [..., count] of the highest scores [..., N], highest first; of equal ones the first."""
    return scores.argsort(dim=-1, descending=True, stable=True)[..., :count]


def shares(count: int, weights: Sequence[float], most: Sequence[int]) -> list[int]:
    """Split a count in proportion to weights, exactly; what is left over goes to the largest remainders.

    Args:
        count: What is split.
        weights: At least one is positive.
        most: What each one can take; what it cannot, others take.

    Raises:
        UserError: The count is larger than all that they can take.
    """
    if count > sum(most):
        raise UserError(f"cannot keep {count} of {sum(most)} visual tokens", todo="give fewer")
    wanted = [count * weight / sum(weights) for weight in weights]
    taken = [min(int(want), limit) for want, limit in zip(wanted, most, strict=True)]
    while sum(taken) < count:
        room = [place for place, limit in enumerate(most) if taken[place] < limit]
        taken[max(room, key=lambda place: wanted[place] - taken[place])] += 1
    return taken
