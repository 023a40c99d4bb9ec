"""TRIM: the patches that a CLIP puts beside the question (Song et al., COLING 2025, arXiv 2409.10994)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from ...adapters.multimodal_checkpoint import fingerprint
from ...adapters.text_half import clip_l, load_text_half, text_half_shape
from ...adapters.tower_signals import TowerSignals
from ...harness.abilities import ShipsCheckpoints
from ...harness.errors import UserError
from ...harness.methods import check_one_given
from .choosing import OfTower, feature_width, highest
from .number_lists import whole
from .prumerge import outliers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from ...adapters.text_half import Shape
    from ...adapters.tower_signals import Signals
    from ...harness.measure.work import Work
    from ...harness.specs import Value
    from ...harness.transformer import Architecture

_AUTO, _OUTLIERS, _USUAL = "auto", -1, 0.21
_TODO = "give text=FOLDER, or the hub id of the CLIP that its tower is of, such as openai/clip-vit-large-patch14-336"


class Trim(OfTower):
    """Keep the patches that are most like the question, and the mean of the others as one more token, the last.

    The features that the projector would be given pass the tower's last norm and CLIP's projection, and their products
    with CLIP's text vector are the scores; neither is normalised. The text is the user's whole message, as much of it
    as the text tower reads; it is padded to that length, so that every question costs the same.

    The release turns the sign of the products: it keeps the patches with the lowest ones, which is in line with what is
    reported of CLIP, but not obvious from the paper. It takes quartiles over all images of a batch; here they are each
    image's own, as no answer may depend on the others of its batch.
    """

    where: ClassVar[str] = "method trim"
    asks: ClassVar[bool] = True
    size_options = ("keep", "share")

    keep: int = Field(64, ge=1)
    """How many patches of each image are kept, the mean of the others not counted."""
    share: float | None = Field(None, le=1)
    """The share of the patches that is kept, instead of keep; -1 for those whose scores, after a softmax over the
    image, are outliers, at least one."""
    iqr: float = Field(1.5, ge=0)
    """How many interquartile ranges above the third quartile a score becomes an outlier."""
    flip: bool = True
    """Whether the patches with the lowest products are kept, as released, instead of the highest."""
    mean: bool = True
    """Whether the mean of all patches that are dropped is one more token."""
    text: str = _AUTO
    """The CLIP that reads the question: a folder or a hub id; auto for the one that ships for the model."""

    @model_validator(mode="after")
    def _fits(self) -> Trim:
        if self.share is not None and self.share <= 0 and self.share != _OUTLIERS:
            raise UserError(f"share must be above 0, or -1, not {self.share:g}", todo="write share=0.25")
        check_one_given(self, "keep", "share")
        return self

    def for_base(self, factory: object) -> Trim:
        """Return the method with the text half that ships for the base."""
        every = factory.checkpoints if isinstance(factory, ShipsCheckpoints) else {}
        return self.model_copy(update={"text": every.get("trim", {}).get(self.text, self.text)})

    def fingerprint(self) -> str:
        """Identify the text half by its files."""
        return "" if self.text == _AUTO else fingerprint(self.text)

    def apply(self, model: Any) -> Any:
        """Return the model with this selector."""
        kind = model.module.model.config.vision_config.model_type
        if kind != "clip_vision_model":
            what = f"no text tower is known that is aligned with {kind}"
            raise UserError(what, where=self.where, todo="take a LLaVA with the tower of a CLIP")
        self._shape(model.architecture)
        if self.text == _AUTO:
            raise UserError("no text half ships for this model", where=self.where, todo=_TODO)
        load_text_half(self.text)
        return super().apply(model)

    def leaves(self, work: Work) -> Work:
        """Return the work on a shorter prompt; where each image has its own number of tokens, on a usual one."""
        self._shape(work.model)
        left = self.kept(work.image_tokens)
        if self.share == _OUTLIERS:
            work = work.assuming(f"Trim keeps as many visual tokens as an image needs; {left} are assumed")
        return work.with_visual_tokens(work.images * left).selecting(work.images * self.choosing(work.model, left))

    def sized(self, share: float, visual: int, depth: int) -> dict[str, Value]:  # noqa: ARG002 - it acts before them
        """Return ``keep`` for a share of the tokens, the mean among them."""
        return {"keep": max(1, round(share * visual) - self.mean)}

    def kept(self, given: int) -> int:
        """Return the tokens that are left: of outliers, the 21 % of the authors' model card."""
        if self.share == _OUTLIERS:
            return max(1, whole(_USUAL, given))
        count = self._count(given)
        return count + (self.mean and count < given)

    def _count(self, given: int) -> int:
        """The patches that are kept of as many."""
        if self.share is not None:
            return max(1, whole(self.share, given))
        if self.keep > given:
            raise UserError(f"cannot keep {self.keep} of {given} visual tokens", todo=f"give keep from 1 to {given}")
        return self.keep

    def flops(self, model: Architecture, left: int) -> int:  # noqa: ARG002 - all patches are compared
        """FLOPs of reading the question, of all patches' projection, and of their products with it."""
        return self._shape(model).flops(model.visual_tokens)

    def _shape(self, model: Architecture) -> Shape:
        """The sizes of the text half; where none is named, of the one that belongs to LLaVA-1.5."""
        if model.vision is None or model.vision.patches != model.visual_tokens or not model.projector:
            what = f"no text tower is known that is aligned with the tower of a {model.model_type}"
            raise UserError(what, where=self.where, todo="take a LLaVA with the tower of a CLIP")
        shape, width = clip_l() if self.text == _AUTO else text_half_shape(self.text), feature_width(model)
        if shape.width != width and self.text == _AUTO:
            raise UserError("no text half ships for this model", where=self.where, todo=_TODO)
        if shape.width != width:
            what = f"the CLIP {self.text} is for features of {shape.width} numbers, and the tower gives {width}"
            raise UserError(what, where=self.where, todo="name the CLIP that the tower is of")
        return shape

    def __call__(self, llava: Any, pixels: torch.Tensor, questions: Sequence[str] = ()) -> list[torch.Tensor]:
        """Return the features [n, width] that the projector is given of each image.

        Args:
            llava: transformers' LLaVA.
            pixels: [images, 3, h, w].
            questions: [images].
        """
        tower = TowerSignals(llava, pixels, questions)
        return [self.pick(*image) for image in zip(tower.features, self.scores(tower), strict=True)]

    def of_images(self, tower: Signals) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features [1, n, width] that are left of the one image, and the patches that are kept, [1, m]."""
        (scores,) = self.scores(tower)
        return self.pick(tower.features[0], scores)[None], self.chosen(scores)[None]

    def origins(self, tower: Signals) -> list[torch.Tensor]:
        """Return for each image which patch each token is that is left, int64 [n]; -1 for the mean."""
        from torch.nn.functional import pad

        chosen = [self.chosen(scores) for scores in self.scores(tower)]
        count = tower.features.shape[1]
        return [pad(own, (0, self.mean and len(own) < count), value=-1) for own in chosen]

    def scores(self, tower: Signals) -> torch.Tensor:
        """Return how much patches have to do with the question, float32 [images, N]."""
        half = load_text_half(self.text)
        half.module.to(tower.features.device)
        products = (half.patches(tower.features) @ half.texts(tower.questions)[..., None])[..., 0]
        return -products if self.flip else products

    def chosen(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the patches that are kept of an image, in its order, int64 [n].

        Args:
            scores: float32 [N].
        """
        many = self.share == _OUTLIERS
        count = max(1, outliers(scores.softmax(dim=0), self.iqr)) if many else self._count(len(scores))
        return highest(scores, count).sort().values

    def pick(self, features: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the tokens [n, width] that are left of an image.

        Args:
            features: [N, width].
            scores: float32 [N].
        """
        import torch

        chosen = self.chosen(scores)
        dropped = torch.ones_like(scores, dtype=torch.bool)
        dropped[chosen] = False
        if not self.mean or len(chosen) == len(scores):
            return features[chosen]
        mean = features[dropped].float().mean(dim=0, keepdim=True).to(features.dtype)
        return torch.cat([features[chosen], mean])
