"""The shape of a transformer: all that its FLOPs and bytes follow from."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    gated: bool
    rotary: bool


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
        patch_inputs: Numbers in a patch: channels x side x side.
    """

    stack: Stack
    patches: int
    extra_tokens: int
    patch_inputs: int


@dataclass(frozen=True, slots=True)
class Language:
    """A language model: embeddings (a look-up, no arithmetic), blocks, and a head.

    Attributes:
        stack: Its blocks.
        head: Linear layers from the last hidden state to the vocabulary.
        causal: Whether a token attends only to earlier ones.
    """

    stack: Stack
    head: tuple[Linear, ...]
    causal: bool


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a model is made of; a part that it lacks is ``None`` or empty."""

    model_type: str
    vision: Vision | None = None
    projector: tuple[Linear, ...] = ()
    language: Language | None = None
    visual_tokens: int = 0
    """Tokens that the language model reads of one image, unless some are pruned."""
