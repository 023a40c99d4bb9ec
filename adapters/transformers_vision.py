"""Any transformers vision encoder, by local path or hub id.

transformers and torch are imported when a model is built: what identifies a checkpoint needs neither.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from ..harness.errors import UserError
from ..harness.hashing import sha256_file, sha256_hex
from .loading import LOCAL, check_whole, checkpoint, loading
from .transformers_meta import blueprint_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from PIL.Image import Image

    from ..harness.contracts import FloatArray

Pooling: TypeAlias = Literal["auto", "cls", "mean", "pooler"]
_POOLINGS = ("auto", "cls", "mean", "pooler")
_DTYPES = ("float32", "bfloat16", "float16")
_PROJECTED = "CLIPVisionModelWithProjection"
_TOWERS = {"clip": _PROJECTED, "siglip": "SiglipVisionModel"}
"""Model types of which only the vision part is loaded -> its class."""
_TANH_POOLER = ("vit", "deit")
"""Model types whose pooler is a leftover of BERT that most checkpoints never trained."""


class HFVisionEncoder:
    """An image encoder of the transformers library.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id such as ``facebook/dinov2-small``.
        pooling: How one vector is made of the output. ``cls``: the CLS token of the last hidden state. ``mean``: the
            mean over its patches or places, without CLS, distillation and register tokens. ``pooler``: the
            architecture's own vector: projected (CLIP), attention-pooled (SigLIP), the normalised CLS token (DINOv2),
            the global average (ResNet, ConvNeXt, Swin). ``auto``: the first that exists of ``pooler``, ``cls`` and
            ``mean``; the tanh pooler of ViT and DeiT does not count, so there it is ``cls``.
        revision: Branch, tag or commit of a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs.

    Attributes:
        module: Takes ``pixel_values`` [n, 3, height, width], returns [n, d].

    Raises:
        UserError: The checkpoint cannot be found, is not that of an image encoder or is not whole, or an argument is
            unknown.
    """

    blueprint = staticmethod(blueprint_of)

    def __init__(
        self,
        path: str,
        *,
        pooling: Pooling = "auto",
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        for kind, value, known in (("pooling", pooling, _POOLINGS), ("dtype", dtype, _DTYPES)):
            if value not in known:
                raise UserError(f"unknown {kind} {value!r}", where=f"hf:{path}", todo=f"choose from {', '.join(known)}")
        folder = checkpoint(path, revision)
        with loading(path, folder):
            encoder, self._processor = _load(folder, dtype, f"hf:{path}")
        self._device = device
        self.module = pooled_module(encoder, pooling).to(device).eval()

    @property
    def network(self) -> torch.nn.Module:
        """The transformers model inside `module`."""
        network: torch.nn.Module = self.module.network
        return network

    def with_network(self, network: torch.nn.Module) -> Self:
        """The same model around another network of the same kind; this one stays as it is."""
        other = copy.copy(self)
        other.module = pooled_module(network, self.module.pooling).eval()
        return other

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        folder = checkpoint(path, revision)
        if not Path(path).expanduser().is_dir():
            return f"hub:{path}@{folder.name}"
        files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors"))
        return "files:" + sha256_hex(*(part.encode() for file in files for part in (file.name, sha256_file(file))))

    def prepare(self, inputs: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        """Return the processor's ``pixel_values`` [n, 3, height, width] on the device."""
        pixels = self._processor(images=list(inputs), return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels.to(self._device, next(self.module.parameters()).dtype)}

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, d]."""
        import torch

        with torch.inference_mode():
            vectors: FloatArray = self.module(**self.prepare(images)).float().cpu().numpy()
        return vectors


def pooled_module(encoder: torch.nn.Module, pooling: Pooling) -> Any:
    """Wrap a transformers encoder so that its forward pass returns one vector per image."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = encoder
            self.pooling = pooling

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            output = self.network(pixel_values=pixel_values)
            return _pool(output, pooling, _leading(output.last_hidden_state, pixel_values, encoder))

    return Pooled()


def _leading(states: torch.Tensor, pixels: torch.Tensor, encoder: Any) -> int:
    """How many tokens come before the patches: CLS, then distillation and register tokens.

    Feature maps [n, d, h, w] and encoders that merge patches (Swin) have none.
    """
    patch = getattr(encoder.config, "patch_size", None)
    if states.ndim != 3 or not patch:
        return 0
    height, width = patch if isinstance(patch, list | tuple) else (patch, patch)
    patches: int = (pixels.shape[2] // height) * (pixels.shape[3] // width)
    return max(0, states.shape[1] - patches)


def _pool(output: Any, pooling: Pooling, leading: int) -> torch.Tensor:
    states: torch.Tensor = output.last_hidden_state
    own: torch.Tensor | None = getattr(output, "image_embeds", None)
    if own is None:
        own = getattr(output, "pooler_output", None)
    if pooling == "auto":
        pooling = "pooler" if own is not None else "cls" if leading else "mean"
    if pooling == "pooler" and own is not None:
        return own.flatten(1)
    if pooling == "cls" and leading:
        return states[:, 0]
    if pooling == "mean":
        return states.flatten(2).mean(dim=2) if states.ndim == 4 else states[:, leading:].mean(dim=1)
    raise UserError(f"this architecture has no output for pooling={pooling}", todo="choose another pooling")


def _load(folder: Path, dtype: str, where: str) -> tuple[torch.nn.Module, Any]:
    """Return the encoder and the image processor of a checkpoint."""
    import torch
    import transformers

    from . import installed

    config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
    name = config.model_type
    kind, config = _kind(config, where)
    encoder, report = kind.from_pretrained(
        folder, config=config, use_safetensors=True, dtype=getattr(torch, dtype), output_loading_info=True,
        ignore_mismatched_sizes=True, **LOCAL,
    )  # fmt: skip
    untrained = {key for key in report["missing_keys"] if key.startswith("pooler.")}
    check_whole({**report, "missing_keys": report["missing_keys"] - untrained}, encoder, where)
    if untrained or name in _TANH_POOLER:
        encoder.pooler = None
    return encoder, installed.image_processor(folder, where)


def _kind(config: Any, where: str) -> tuple[Any, Any]:
    """Return the class to load and its config: for a model of images and text, those of its vision part."""
    import transformers

    from . import installed

    name = config.model_type
    if name in _TOWERS:
        vision = config.vision_config
        if name == "clip":
            vision.projection_dim = config.projection_dim  # some checkpoints state it right only here
        return getattr(transformers, _TOWERS[name]), vision
    if _PROJECTED in (config.architectures or ()):
        return getattr(transformers, _PROJECTED), config
    known = installed.builds("AutoModelForImageClassification", config) or name.startswith("dinov3")
    if name.endswith("_vision_model") or (known and hasattr(config, "num_channels")):
        return transformers.AutoModel, config
    raise UserError(f"a {name} is not an image encoder", where=where, todo="name an image model")
