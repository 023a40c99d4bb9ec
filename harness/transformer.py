"""The shape of a transformer: all that its FLOPs and bytes follow from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .measure.quantisation import Quantisation


@dataclass(frozen=True, slots=True)
class Stack:
    """Equal transformer blocks.

    Attributes:
        layers: Blocks.
        hidden: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key and value heads; fewer than ``heads`` for grouped queries.
        head_dim: Width of a head.
        ffn: Width inside the MLP.
        gated: Whether the MLP has three matrices (gate, up, down) instead of two.
        rotary: Whether queries and keys are rotated in every block.
        windows: Of each block, to how many positions a token attends, its own included; 0 for all. Empty if that is 0
            for every block.
        chunked: Whether windows do not slide: a token attends to those before it in its own chunk of the text.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    gated: bool
    rotary: bool
    windows: tuple[int, ...] = ()
    chunked: bool = False

    def seen(self, layer: int, tokens: int) -> int:
        """How many of ``tokens`` positions the last one attends to at most, and so how many are kept in a cache.

        A sliding cache of transformers keeps one position fewer, and the next token's own makes up the window.
        """
        window = self.windows[layer] if self.windows else 0
        return min(tokens, window or tokens)

    def pairs(self, layer: int, tokens: int) -> int:
        """Pairs of a query and a key that the causal mask of a block lets through."""
        window = self.seen(layer, tokens)
        if self.chunked:
            chunks, rest = divmod(tokens, window)
            return chunks * _triangle(window) + _triangle(rest)
        return _triangle(window) + (tokens - window) * window


def _triangle(side: int) -> int:
    return side * (side + 1) // 2


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer ``inputs -> outputs``."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Vision:
    """A vision transformer.

    Attributes:
        stack: Its blocks; all of them run, also those whose output is not read.
        patches: Patches of an image at the config's own size.
        extra_tokens: CLS and register tokens.
        patch_inputs: Numbers in a patch: channels x height x width.
        pooling: Whether one learnt query attends to all tokens at the end, with an MLP of its own (SigLIP).
        merged: Patches that one visual token is made of; 0 if that is not known.
        fused: Whether one linear layer makes queries, keys and values.
        tiles: That an image is cut into, each of ``patches`` patches; the tower reads them one by one.
        views: Visual tokens of each view of an image, if it is read in several that are chosen from apart.
    """

    stack: Stack
    patches: int
    extra_tokens: int
    patch_inputs: int
    pooling: bool = False
    merged: int = 1
    fused: bool = False
    tiles: int = 1
    views: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Language:
    """A language model: embeddings (a look-up, no arithmetic), blocks, and a head.

    Attributes:
        stack: Its blocks.
        head: Linear layers from the last hidden state to the vocabulary.
        causal: Whether a token attends only to earlier ones.
        around: Linear layers over all tokens before and after the blocks, where embeddings have a width of their own.
    """

    stack: Stack
    head: tuple[Linear, ...]
    causal: bool
    around: tuple[Linear, ...] = ()


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a model is made of; a part that it lacks is ``None`` or empty.

    Attributes:
        model_type: As transformers calls it.
        vision: The tower of images.
        projector: From the tower to the language model, or to the space that images share with texts.
        language: The language model, which reads images and texts.
        visual_tokens: Tokens that the language model reads of one image, unless some are pruned.
        quantisation: How weights are stored, if not in the precision of everything else.
        text: The tower of texts, which reads no image; its head leads to the space that texts share with images.
    """

    model_type: str
    vision: Vision | None = None
    projector: tuple[Linear, ...] = ()
    language: Language | None = None
    visual_tokens: int = 0
    text: Language | None = None
    quantisation: Quantisation | None = None
