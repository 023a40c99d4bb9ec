"""Any transformers model that embeds images and texts in one space, such as CLIP and SigLIP, by path or hub id.

transformers and torch are imported when a model is built: what identifies a checkpoint needs neither.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from .loading import LOCAL, check_choices, check_whole, checkpoint, load_tokenizer, loading
from .multimodal_checkpoint import fingerprint as fingerprint_of_folder
from .transformers_meta import blueprint_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch
    from PIL.Image import Image

    from ..harness.contracts import FloatArray

_FILES = (
    "*config.json", "model*.safetensors*", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt", "spiece.model",
)  # fmt: skip
_CHOICES = {"dtype": ("float32", "bfloat16", "float16")}
_PADDED = ("siglip", "siglip2")
"""Model types that were trained on texts padded to one length, without a mask: padding is part of what they read."""


class HFDualEncoder:
    """A model of the transformers library with ``get_image_features`` and ``get_text_features``.

    Texts are tokenised as each family was trained: CLIP's and others' are padded to the longest of a batch, which their
    masks make irrelevant, SigLIP's to the model's length. What is too long is cut off.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id such as ``openai/clip-vit-base-patch32``.
        revision: Branch, tag or commit of a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs.

    Attributes:
        module: Takes ``pixel_values`` [n, 3, height, width] and whatever else the processor returns, gives [n, d].
        tokenizer: Its own.
        length: Tokens that it reads.

    Raises:
        UserError: The checkpoint cannot be found, embeds no texts or no images, or is not whole.
    """

    blueprint = staticmethod(blueprint_of)

    def __init__(self, path: str, *, revision: str | None = None, dtype: str = "float32", device: str = "cpu") -> None:
        where = f"hf-dual:{path}"
        check_choices({"dtype": dtype}, _CHOICES, where)
        folder = checkpoint(path, revision, _FILES)
        with loading(path, folder):
            network, self._processor = _load(folder, dtype, where)
            self.tokenizer = load_tokenizer(folder, where)
        text = getattr(network.config, "text_config", network.config)
        self.length: int = getattr(text, "max_position_embeddings", 0) or self.tokenizer.model_max_length
        self._device = device
        self.module = image_side(network).to(device).eval()

    @property
    def network(self) -> Any:
        """The transformers model, with both of its sides."""
        return self.module.network

    def with_network(self, network: torch.nn.Module) -> HFDualEncoder:
        """The same adapter around another model of the same kind; this one stays as it is."""
        other = copy.copy(self)
        other.module = image_side(network).eval()
        return other

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        return fingerprint_of_folder(path, revision)

    def prepare(self, inputs: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        """Return what the processor makes of images, on the device."""
        return self._placed(self._processor(images=list(inputs), return_tensors="pt"))

    def tokenise(self, texts: Sequence[str]) -> Mapping[str, torch.Tensor]:
        """Return what the tokenizer makes of texts: ``input_ids`` [n, tokens], and a mask if it is used."""
        padded = self.network.config.model_type in _PADDED
        encoded = self.tokenizer(
            list(texts),
            padding="max_length" if padded else True,
            max_length=self.length,
            truncation=True,
            return_tensors="pt",
        )
        return self._placed({"input_ids": encoded["input_ids"]} if padded else encoded)

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, d]."""
        import torch

        with torch.inference_mode():
            return _array(self.module(**self.prepare(images)))

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return float32 [n, d]."""
        import torch

        with torch.inference_mode():
            return _array(self.text_features(**self.tokenise(texts)))

    def text_features(self, **tokenised: torch.Tensor) -> torch.Tensor:
        """Embed what `tokenise` returns: [n, d], differentiable."""
        from . import installed

        return installed.features(self.network.get_text_features(**tokenised))

    def _placed(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        dtype = next(self.module.parameters()).dtype
        return {
            name: tensor.to(self._device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in inputs.items()
        }


def image_side(network: Any) -> Any:
    """Wrap a model so that its forward pass embeds images."""
    import torch

    from . import installed

    class ImageSide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
            return installed.features(self.network.get_image_features(**inputs))

    return ImageSide()


def _array(vectors: torch.Tensor) -> FloatArray:
    array: FloatArray = vectors.float().cpu().numpy()
    return array


def _load(folder: Path, dtype: str, where: str) -> tuple[Any, Any]:
    """Return the model and the image processor of a checkpoint."""
    import torch
    import transformers

    from . import installed

    config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
    kind = installed.class_for("AutoModel", config)
    if not all(hasattr(kind, method) for method in ("get_image_features", "get_text_features")):
        what = f"a {config.model_type} does not embed images and texts in one space"
        raise UserError(what, where=where, todo="name a CLIP, a SigLIP or another such model")
    network, report = transformers.AutoModel.from_pretrained(
        folder, config=config, use_safetensors=True, dtype=getattr(torch, dtype), output_loading_info=True,
        ignore_mismatched_sizes=True, **LOCAL,
    )  # fmt: skip
    check_whole(report, network, where)
    return network, installed.image_processor(folder, where)
