"""What a vision tower says of an image's patches: features, keys, and how much each is attended to.

Where several patches become one token of the language model, what is said is said of the tokens. Everything is
computed when it is asked for, from one pass of the tower: attention from the queries and keys of the one block that is
read, so that the tower keeps its fused kernels.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from ..harness.errors import UserError
from .tower_features import feature_layers, tokens_before_patches
from .tower_memory import Pass

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    import torch

    from ..harness.transformer import Architecture, Vision
    from .tower_memory import Kept

Query: TypeAlias = Literal["cls", "mean"]
"""Whose attention patches get: the CLS token's, or that of all tokens on average."""
Heads: TypeAlias = Literal["sum", "mean", "single"]
"""How heads become one: single takes the whole width as one head."""

_AT_ONCE = 1024
"""Queries whose attention is computed together."""
TOWERS = (
    "clip_vision_model",
    "siglip_vision_model",
    "internvl_vision",
    "qwen2_vl_vision",
    "qwen2_5_vl_vision",
    "qwen3_vl_vision",
)
"""Model types of the towers whose queries and keys are read."""


class Signals(Protocol):
    """What a tower says of images, each of N tokens, and what is asked about them.

    Attributes:
        questions: Of each image, [images]; empty unless the selector asks for them.
        features: [images, N, width], what a selector keeps or merges.
        projected: [images, N, d], what the language model would be given of them.
        cls: [images, width], the CLS token as the projector would be given it.
        grid: Rows and columns of the N tokens, or of those of each tile; (0, 0) if they are in no grid.
    """

    @property
    def questions(self) -> Sequence[str]: ...  # noqa: D102 - in the class

    @property
    def features(self) -> torch.Tensor: ...  # noqa: D102

    @property
    def projected(self) -> torch.Tensor: ...  # noqa: D102

    @property
    def cls(self) -> torch.Tensor: ...  # noqa: D102

    @property
    def grid(self) -> tuple[int, int]: ...  # noqa: D102

    def keys(self, layer: int) -> torch.Tensor:
        """Keys [images, N, width] in a block of the tower, float32."""
        ...

    def heads(self, layer: int) -> int:
        """Attention heads of a block of the tower."""
        ...

    def received(self, layer: int, query: Query, heads: Heads) -> torch.Tensor:
        """The probability with which each token is attended to in a block, float32 [images, N]."""
        ...


class Views(NamedTuple):
    """What a tower says of an image that is shown to it in several views, each of which is chosen from apart.

    Attributes:
        every: Of one image each, the view of the whole image first.
        shown: Of each token of that one, which of the others shows the same place, int64 [N].
    """

    every: Sequence[Signals]
    shown: torch.Tensor


def attended(queries: torch.Tensor, keys: torch.Tensor, count: int, heads: Heads) -> torch.Tensor:
    """Return the probability with which each key is attended to, on average over queries: float32 [rows, keys].

    Args:
        queries: float32 [rows, queries, width].
        keys: float32 [rows, keys, width].
        count: Heads that the width is split into.
        heads: How they become one.
    """
    import torch

    count = 1 if heads == "single" else count
    shape = (count, keys.shape[-1] // count)
    q, k = (part.view(*part.shape[:2], *shape).transpose(1, 2) for part in (queries, keys))
    every = torch.zeros_like(k[..., 0])
    for some in torch.split(q, _AT_ONCE, dim=2):  # a large image of Qwen-VL has ten thousand patches
        share = some.shape[2] / q.shape[2]
        every = every + share * (some @ k.transpose(2, 3) * shape[1] ** -0.5).softmax(dim=-1).mean(dim=2)
    return every.sum(dim=1) if heads == "sum" else every.mean(dim=1)


class Given(NamedTuple):
    """What a module was given.

    Attributes:
        hidden: Its first argument.
        named: The others, by name.
    """

    hidden: torch.Tensor
    named: dict[str, Any]


@contextmanager
def noted(modules: Sequence[Any]) -> Iterator[list[Given]]:
    """Note what some modules are given, in the order in which they run."""
    found: list[Given] = []

    def note(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        found.append(Given(given[0] if given else named["hidden_states"], named))

    hooks = [module.register_forward_pre_hook(note, with_kwargs=True) for module in modules]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class _OfOne:
    """The parts of a pass that are of one image."""

    def __init__(self, whole: Pass | _OfOne, image: int) -> None:
        self._whole, self._image = whole, image

    def __getitem__(self, name: Hashable) -> torch.Tensor:
        return self._whole[name][self._image : self._image + 1]


class TowerSignals:
    """A pass of a LLaVA's tower over images.

    Args:
        llava: transformers' LLaVA.
        pixels: [images, 3, h, w], or what makes them.
        questions: One per image, if they are asked for.
        kept: Parts of a pass over one image that are known already.
    """

    def __init__(
        self,
        llava: Any,
        pixels: torch.Tensor | Callable[[], torch.Tensor],
        questions: Sequence[str] = (),
        *,
        kept: Kept | None = None,
    ) -> None:
        self._llava, self._tower, self.questions = llava, (tower := llava.model.vision_tower), questions
        self._depth = llava.config.vision_config.num_hidden_layers

        def run() -> dict[Hashable, torch.Tensor]:
            shown = pixels() if callable(pixels) else pixels
            return dict(enumerate(tower(shown, output_hidden_states=True, return_dict=True).hidden_states))

        self._states: Pass | _OfOne = Pass(run, kept, usual=(self._depth - 2, self._depth - 1))
        self._known_keys: dict[int, torch.Tensor] = {}  # here, not in a cache of functions, which would keep the images

    def one(self, image: int) -> TowerSignals:
        """The same of one image alone."""
        alone = copy.copy(self)
        for known in ("features", "projected", "cls"):  # of all images
            vars(alone).pop(known, None)
        alone._states = _OfOne(self._states, image)
        alone._known_keys, alone.questions = {}, self.questions[image : image + 1]
        return alone

    @property
    def projector(self) -> Any:
        """What makes tokens of the language model of features."""
        return self._llava.model.multi_modal_projector

    @cached_property
    def features(self) -> torch.Tensor:
        """[images, N, width]: what the projector would be given of all patches."""
        import torch

        return torch.cat(self._chosen, dim=-1)[:, self._before :]

    @cached_property
    def projected(self) -> torch.Tensor:
        """[images, N, d]: what the language model would be given of all patches."""
        projected: torch.Tensor = self.projector(self.features)
        return projected

    @cached_property
    def cls(self) -> torch.Tensor:
        """[images, width]: the CLS token, as the projector would be given it."""
        import torch

        return torch.cat(self._chosen, dim=-1)[:, 0]

    @property
    def _chosen(self) -> list[torch.Tensor]:
        """The hidden states that features are made of, each [images, tokens, width]."""
        return [self._states[index % (self._depth + 1)] for index in feature_layers(self._llava.config)]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches: as many of both."""
        return (round(self.features.shape[1] ** 0.5),) * 2

    def keys(self, layer: int) -> torch.Tensor:
        """Keys [images, N, width] of the patches in a block of the tower, float32."""
        return self._keys(layer)[:, self._before :]

    def heads(self, layer: int) -> int:
        """Attention heads of a block of the tower."""
        return int(self._block(layer)[0].num_heads)

    def received(self, layer: int, query: Query, heads: Heads) -> torch.Tensor:
        """The probability with which each patch is attended to in a block, float32 [images, N]."""
        attention, given = self._block(layer)
        queries = attention.q_proj(given[:, :1] if query == "cls" else given).float()
        return attended(queries, self._keys(layer), attention.num_heads, heads)[:, self._before :]

    @property
    def _before(self) -> int:
        return tokens_before_patches(self._llava.config)

    def _keys(self, layer: int) -> torch.Tensor:
        if layer not in self._known_keys:
            attention, given = self._block(layer)
            self._known_keys[layer] = attention.k_proj(given).float()
        return self._known_keys[layer]

    def _block(self, layer: int) -> tuple[Any, torch.Tensor]:
        """Attention of a block, and what it is given."""
        blocks = getattr(self._tower, "vision_model", self._tower).encoder.layers  # by release one step deeper or less
        place = range(len(blocks))[layer]
        return blocks[place].self_attn, blocks[place].layer_norm1(self._states[place])


def received_flops(vision: Vision, query: Query) -> int:
    """FLOPs of `Signals.received` and of the keys that it needs, of one image."""
    tokens, width = vision.patches + vision.extra_tokens, vision.stack.hidden
    queries = 1 if query == "cls" else tokens
    made = 3 * tokens if vision.fused else queries + tokens
    return vision.tiles * (2 * width**2 * made + 2 * width * queries * tokens)


def check_tower(architecture: Architecture, *, query: Query, layer: int, where: str) -> None:
    """Refuse options that ask a tower for what it does not have.

    Args:
        architecture: The model's.
        query: Whose attention is read.
        layer: In which block; negative from the end.
        where: What the message is about.
    """
    if architecture.vision is None:
        raise UserError(f"a {architecture.model_type} has no vision tower", where=where, todo="leave it out")
    depth, windows = architecture.vision.stack.layers, architecture.vision.stack.windows
    if not architecture.vision.extra_tokens and query == "cls":
        todo = "say query=mean to score patches by the attention of all patches"
        raise UserError("its tower has no CLS token", where=where, todo=todo)
    if architecture.visual_tokens > architecture.vision.patches and not architecture.vision.views:
        what = "it projects its tower's CLS token, which is not a patch"
        raise UserError(what, where=where, todo="leave it out")
    if not -depth <= layer < depth:
        what = f"there is no layer {layer} among the {depth} of its tower"
        raise UserError(what, where=where, todo=f"give {-depth} to {depth - 1}")
    if windows and windows[layer]:
        whole = ", ".join(str(place) for place, window in enumerate(windows) if not window)
        raise UserError(f"layer {layer} of its tower attends within windows", where=where, todo=f"give one of {whole}")


def check_kind(model: Any, where: str) -> None:
    """Refuse a tower whose queries and keys cannot be read.

    Args:
        model: transformers' model of images and text.
        where: What the message is about.
    """
    kind = model.config.vision_config.model_type
    if kind not in TOWERS:
        raise UserError(f"cannot read queries and keys of a {kind}", where=where, todo="take a CLIP or SigLIP tower")
