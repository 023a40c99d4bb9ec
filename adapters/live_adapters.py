"""What a LoRA costs that stays beside the weights: told by the names and shapes of its tensors.

A target from ``in`` to ``out`` numbers, adapted at rank r, does 2 r (in + out) FLOPs more for each token (Hu et al.
2021, equation 3). DoRA takes the norm of its weights in each forward pass: 2 in r (in + out) more, whatever the tokens.
IA3 multiplies numbers one by one, which the convention does not count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ..harness.errors import UserError
from ..harness.measure.work import Beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..harness.execution import Execution

Part: TypeAlias = Literal["vision", "projector", "blocks", "head"]

_TENSOR = re.compile(r"(?:base_model\.model\.)?(.+)\.(lora_\w+)(?:\.default)?(?:\.weight)?")
_BLOCK = re.compile(r"\.(\d+)\.")


class Target(NamedTuple):
    """A layer with a live LoRA.

    Attributes:
        part: Of the model; ``blocks`` are the language model's, or of an encoder its own.
        block: The layer's block in it, if there are several.
        token: FLOPs for each token.
        each: FLOPs for each forward pass.
    """

    part: Part
    block: int | None
    token: int
    each: int = 0


def shapes(network: Any) -> dict[str, Sequence[int]]:
    """Return the shapes of a network's parameters, by their names."""
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def targets(tensors: Mapping[str, Sequence[int]]) -> tuple[Target, ...]:
    """Return the layers that LoRAs stay beside.

    Args:
        tensors: Shapes of an adapter's tensors, or of a network's parameters, by their names.

    Raises:
        UserError: They are on a layer whose cost is not known.
    """
    layers: dict[str, dict[str, Sequence[int]]] = {}
    for name, shape in tensors.items():
        found = _TENSOR.fullmatch(name)
        if found:
            layers.setdefault(found[1], {})[found[2]] = shape
    return tuple(_target(path, own) for path, own in layers.items())


def beside(
    found: Iterable[Target],
    *,
    tower: Execution | None,
    visual_tokens: int,
    blocks: Execution | None,
    images: int = 1,
    head: int = 1,
) -> Beside:
    """Return the FLOPs of live LoRAs for one prompt.

    Args:
        found: Their layers.
        tower: What runs of the vision tower for an image; ``None`` if there is none.
        visual_tokens: That go through the projector.
        blocks: What runs of the language model; ``None`` for an encoder, whose blocks are its tower's.
        images: Of the prompt; each goes through the tower and the projector alone.
        head: Positions that go through the head.
    """
    read: dict[Part, Mapping[int | None, int]] = {
        "vision": _tokens(tower, images),
        "projector": {None: visual_tokens},
        "blocks": _tokens(tower) if blocks is None else _tokens(blocks),
        "head": {None: head},
    }
    vision = language = following = 0
    for part, block, token, each in found:
        tokens = read[part].get(block, 0)
        if not tokens:
            continue
        if part in ("vision", "projector") or blocks is None:
            vision += token * tokens + each * images
        else:
            language += token * tokens + each
            following += token + each
    return Beside(vision, language, following)


def _tokens(execution: Execution | None, images: int = 1) -> Mapping[int | None, int]:
    return {} if execution is None else {work.layer: work.tokens * images for work in execution.layers}


def _target(path: str, tensors: Mapping[str, Sequence[int]]) -> Target:
    down, up = tensors.get("lora_A", ()), tensors.get("lora_B", ())
    part, block = _place(path)
    others = tensors.keys() - {"lora_A", "lora_B", "lora_magnitude_vector"}
    if part is None or len(down) != 2 or len(up) != 2 or others:
        todo = "leave merged=false out"
        raise UserError(f"the cost of a live LoRA on {path} is not known", todo=todo)
    (rank, inputs), outputs = down, up[0]
    token = 2 * rank * (inputs + outputs)
    return Target(part, block, token, inputs * token if "lora_magnitude_vector" in tensors else 0)


def _place(path: str) -> tuple[Part | None, int | None]:
    """Which part a layer belongs to, and which block of it."""
    block = _BLOCK.search(path)
    if "projector" in path:
        return "projector", None
    if block:
        return ("vision" if "vision" in path or "visual" in path else "blocks"), int(block[1])
    return ("head" if path.rpartition(".")[2] in ("lm_head", "embed_out") else None), None
