"""What kinds of models of images and text do each in their own way: from images to the tokens that are read of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..harness.errors import BadSample, UserError
from .placement import device_of, is_split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from PIL.Image import Image

    from ..harness.execution import Execution
    from ..harness.transformer import Architecture
    from .multimodal_checkpoint import Checkpoint
    from .tower_memory import Kept
    from .tower_signals import Signals, Views

REFUSALS = (ArithmeticError, LookupError, RuntimeError, ValueError)
"""What processors raise about an image or a text that they cannot take."""
_TOLD = ("pixel_values", "image_grid_thw", "image_sizes")
"""What processors make of images that towers read."""


class Seen(NamedTuple):
    """What the language model is given of an image.

    Attributes:
        features: [n, d].
        places: int64 [n, axes], each counted from where the image begins; ``None`` if they are in a line.
        span: How far the text after it is from where it begins; 0 for n.
        deep: What is added to them after each of the first L blocks, [n, L, d]; ``None`` for nothing.
    """

    features: torch.Tensor
    places: torch.Tensor | None = None
    span: int = 0
    deep: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """Bytes of the features, and of what is added to them."""
        return sum(one.numel() * one.element_size() for one in (self.features, self.deep) if one is not None)


class Size(NamedTuple):
    """What follows from the width and height of an image.

    Attributes:
        tokens: That the language model reads of it, unless a method leaves fewer.
        span: How far the text after it is from where it begins, where tokens have places.
        rows: Of a grid that its tokens are in; 0 if they are in none, as those of several tiles.
        columns: Of it.
        tiles: That the tower is given one by one.
        projected: Tokens that the projector is given, unless a method leaves fewer; 0 for as many as are read.
    """

    tokens: int
    span: int
    rows: int
    columns: int
    tiles: int = 1
    projected: int = 0


class Family(Protocol):
    """A loaded checkpoint, and how it sees.

    Attributes:
        tower: The module that reads images, all that stays as it is when a language model is finetuned.
        around: Ids of tokens that stand before and after each image's.
    """

    tower: Any
    around: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def architecture(self) -> Architecture:
        """The shape of its parts; ``visual_tokens`` are those of a usual image, or 0 if there is none."""
        ...

    def size(self, image: Image) -> Size:
        """What follows from the size of an image."""
        ...

    def shown(self, image: Image) -> Image:
        """An image as the grid of its tokens lies over it."""
        ...

    def inputs(self, images: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        """What the tower is given of images; the tensors have names of their own."""
        ...

    def see(self, inputs: Mapping[str, torch.Tensor], selector: Any, questions: Sequence[str] = ()) -> list[Seen]:
        """What the language model is given of images, which a selector may have left fewer tokens of.

        Args:
            inputs: As `inputs` returns them.
            selector: Of visual tokens; ``None`` for all.
            questions: One per image, if the selector asks for them.
        """
        ...

    def look(self, image: Image, selector: Any, questions: Sequence[str], kept: Kept | None) -> Seen:
        """What `see` returns of one image; of the tower's pass, what is kept is not made again.

        Args:
            image: To look at.
            selector: As in `see`.
            questions: The one on it, if the selector asks for it.
            kept: Parts of the pass.
        """
        ...

    def tower_flops(self, image: Image, selector: Any) -> int:
        """FLOPs of all that does not depend on how many tokens are left of an image."""
        ...

    def tower_work(self, image: Image, selector: Any) -> Execution | None:
        """What of the tower runs for an image."""
        ...

    def seeing(self, image: Image) -> Architecture:
        """The architecture with the visual tokens, patches and tiles of an image."""
        ...


class Processed:
    """What families have in common whose own processor decides how an image is cut, into how many tokens.

    The tower's forward pass is all that does not depend on a selector.

    Args:
        loaded: The checkpoint.

    Raises:
        UserError: It is split over devices, or its processor reads no image.
    """

    tower: Any

    def __init__(self, loaded: Checkpoint) -> None:
        from PIL import Image as Pillow

        self._model, self._processor = loaded.model, loaded.processor
        self._image: int = loaded.model.config.image_token_id
        self._sized = functools.lru_cache(4096)(self._sized_by)
        self._counted = functools.lru_cache(4096)(self._count)
        self._agreed = False
        if is_split(self._model):
            todo = "leave device_map out, or run it as hf-vlm"
            raise UserError(f"a {loaded.model.config.model_type} is steered on one device only", todo=todo)
        try:
            ids = self._processed([Pillow.new("RGB", (64, 64))])["input_ids"][0].tolist()
            first, last = ids.index(self._image), len(ids) - ids[::-1].index(self._image)
        except (TypeError, *REFUSALS) as error:
            raise unread(error, f"hf:{self._model.name_or_path}") from error
        self.around = tuple(ids[:first]), tuple(ids[last:])

    def size(self, image: Image) -> Size:
        """What follows from the size of an image."""
        return self._sized(image.size)

    def shown(self, image: Image) -> Image:
        """The image: it is scaled, and nothing is cut off."""
        return image.convert("RGB")

    def inputs(self, images: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        """What the processor makes of images, those of text left out.

        Raises:
            BadSample: It refuses one of them.
        """
        try:
            made = self._processed(images)
        except REFUSALS as error:
            raise BadSample(f"the model's processor refuses it: {error}", todo="leave it out") from error
        told = {name: value for name, value in made.items() if name in _TOLD}
        return {**told, **self._beside(images)}

    def tower_flops(self, image: Image, selector: Any) -> int:  # noqa: ARG002 - none of them acts inside these towers
        """FLOPs of all that does not depend on how many tokens are left of an image."""
        return self._counted(image.size)

    def _beside(self, images: Sequence[Image]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - most need nothing
        """What the tower must be told of images besides."""
        return {}

    def _processed(self, images: Sequence[Image]) -> Any:
        texts = [self._processor.image_token] * len(images)
        shown = [[image.convert("RGB")] for image in images]
        made = self._processor(text=texts, images=shown, return_tensors="pt", padding=True, add_special_tokens=False)
        return made.to(device_of(self._model), self._model.dtype)

    def _blank(self, size: tuple[int, int]) -> Mapping[str, torch.Tensor]:
        from PIL import Image as Pillow

        return self.inputs([Pillow.new("RGB", size)])

    def _sized_by(self, size: tuple[int, int]) -> Size:
        raise NotImplementedError

    def _count(self, size: tuple[int, int]) -> int:
        """Count the FLOPs of what a selector does not change, on a blank image."""
        from ..harness.measure.flops import count_again, count_flops

        inputs = self._given(self._blank(size))
        again = int(count_again(self.tower, inputs))
        if not self._agreed:  # both counters must, once; other sizes are the same operators on more or fewer numbers
            counted = int(count_flops(self.tower, inputs, phase="vision").value)
            self._agreed = counted == again
            return counted
        return again

    def _given(self, inputs: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """What the tower's forward pass takes of one image, by its own names, of what `inputs` returns."""
        raise NotImplementedError


def unread(error: Exception, where: str) -> UserError:
    """Return the message of a checkpoint whose processor fails on an ordinary image."""
    what = f"its processor cannot read an image: {type(error).__name__}: {error}"
    return UserError(what, where=where, todo="fix its processor_config.json")


def each(questions: Sequence[str], images: int) -> list[tuple[str, ...]]:
    """The question on each of some images, or none on any."""
    return [(question,) for question in questions] or [()] * images


def choose(selector: Any, signals: Signals | Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Let a selector choose among the tokens of an image.

    Returns:
        Features [n, width] as the signals have them, and which tokens' places they take, int64 [n].

    Raises:
        UserError: It runs a LLaVA's tower itself.
    """
    if not hasattr(selector, "left"):
        what = f"{type(selector).__name__} runs a LLaVA's tower itself, and has no `left` for what another tower says"
        raise UserError(what, todo="choose another method")
    chosen, places = selector.left(signals)
    return chosen[0], places[0]
