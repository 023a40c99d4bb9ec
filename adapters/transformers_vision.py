"""Any transformers vision encoder, by local path or hub id.

Safetensors only, remote code never. A hub id is looked up in the local cache first and downloaded if the network
allows.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..harness.errors import UserError
from ..harness.hashing import sha256_file, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch
    from PIL.Image import Image

    from ..harness.contracts import FloatArray

Pooling: TypeAlias = Literal["auto", "cls", "mean", "pooler"]
_POOLINGS = ("auto", "cls", "mean", "pooler")
_TOWERS = {"clip": "CLIPVisionModelWithProjection", "clip_vision_model": "CLIPVisionModelWithProjection",
           "siglip": "SiglipVisionModel", "siglip_vision_model": "SiglipVisionModel"}  # fmt: skip
"""Model types of which only the vision part is loaded -> its class."""


class HFVisionEncoder:
    """An image encoder of the transformers library.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id such as ``facebook/dinov2-small``.
        pooling: How one vector is made of the output. ``auto``: the projected embedding (CLIP), else the pooler's
            output where the architecture has a trained one (DINOv2's normalised CLS, SigLIP's attention head, the
            global average of ResNet and ConvNeXt), else the CLS token after the last norm (ViT). ``cls``, ``mean``
            (over patches) and ``pooler`` choose.
        revision: Branch, tag or commit of a hub id.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: Where it runs.

    Attributes:
        module: Takes ``pixel_values`` [n, 3, height, width], returns [n, d].
    """

    def __init__(
        self,
        path: str,
        *,
        pooling: Pooling = "auto",
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        import torch

        if pooling not in _POOLINGS:
            raise UserError(
                f"unknown pooling {pooling!r}", where=f"hf:{path}", todo=f"choose from {', '.join(_POOLINGS)}"
            )
        if dtype not in ("float32", "bfloat16", "float16"):
            raise UserError(f"unknown dtype {dtype!r}", where=f"hf:{path}", todo="choose float32, bfloat16 or float16")
        with _loading(path):
            encoder, self._processor = _load(path, revision, getattr(torch, dtype))
        self._device = device
        self.module = pooled_module(encoder, pooling).to(device).eval()

    @property
    def encoder(self) -> torch.nn.Module:
        """The transformers model inside `module`."""
        encoder: torch.nn.Module = self.module.encoder
        return encoder

    def with_encoder(self, encoder: torch.nn.Module) -> HFVisionEncoder:
        """The same adapter around another encoder of the same kind; this one stays as it is."""
        other = object.__new__(HFVisionEncoder)
        other._processor, other._device = self._processor, self._device
        other.module = pooled_module(encoder, self.module.pooling).to(self._device).eval()
        return other

    @classmethod
    def fingerprint(cls, path: str, *, revision: str | None = None, **_: Any) -> str:
        """Identify the weights without loading them: hash of a folder's files, or the commit of a hub id."""
        folder = Path(path).expanduser()
        if not folder.is_dir():
            with _loading(path):
                return f"hub:{path}@{_commit(path, revision)}"
        files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors"))
        return "files:" + sha256_hex(*(part.encode() for file in files for part in (file.name, sha256_file(file))))

    def prepare(self, inputs: Sequence[Image]) -> Mapping[str, torch.Tensor]:
        """Return the processor's ``pixel_values`` [n, 3, height, width] on the device."""
        pixels = self._processor(images=list(inputs), return_tensors="pt")["pixel_values"]
        dtype = next(self.module.parameters()).dtype
        return {"pixel_values": pixels.to(self._device, dtype)}

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """Return float32 [n, d]."""
        import torch

        with torch.inference_mode():
            vectors: FloatArray = self.module(**self.prepare(images)).float().cpu().numpy()
        return vectors


def pooled_module(encoder: torch.nn.Module, pooling: Pooling) -> Any:
    """Wrap a transformers encoder so that its forward pass returns one vector an image."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.pooling = pooling

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return _pool(self.encoder(pixel_values=pixel_values), pooling)

    return Pooled()


def _pool(output: Any, pooling: Pooling) -> torch.Tensor:
    states: torch.Tensor = output.last_hidden_state
    pooled: torch.Tensor | None = getattr(output, "image_embeds", None)
    if pooled is None:
        pooled = getattr(output, "pooler_output", None)
    if pooling == "cls" and states.ndim == 3:
        return states[:, 0]
    if pooling == "mean":
        return states.flatten(2).mean(dim=2) if states.ndim == 4 else states[:, 1:].mean(dim=1)
    if pooled is not None:
        return pooled.flatten(1)
    if pooling == "pooler" or states.ndim != 3:
        raise UserError(f"this architecture has no output for pooling={pooling}", todo="choose another pooling")
    return states[:, 0]


def _load(path: str, revision: str | None, dtype: torch.dtype) -> tuple[torch.nn.Module, Any]:
    import transformers

    where = str(Path(path).expanduser()) if Path(path).expanduser().is_dir() else path
    common = {"revision": revision, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(where, **common)
    if config.model_type in _TOWERS:
        kind = getattr(transformers, _TOWERS[config.model_type])
    elif hasattr(config, "num_channels"):
        kind = transformers.AutoModel
    else:
        raise UserError(f"a {config.model_type} is no vision encoder", where=f"hf:{path}", todo="name an image model")
    # The ViT of transformers makes an untrained pooler unless it is told not to.
    extra = {"add_pooling_layer": False} if config.model_type == "vit" else {}
    encoder = kind.from_pretrained(where, use_safetensors=True, dtype=dtype, **common, **extra)
    processor = transformers.AutoImageProcessor.from_pretrained(where, backend="pil", **common)
    return encoder, processor


def _commit(path: str, revision: str | None) -> str:
    """The commit that a hub id stands for, from the local cache or the hub."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
    commit = getattr(config, "_commit_hash", None)
    if not commit:
        raise UserError("cannot tell which version this is", where=f"hf:{path}", todo="use a local folder")
    return str(commit)


def _loading(path: str) -> AbstractContextManager[None]:
    """Turn whatever transformers raises about a checkpoint into one line."""
    from contextlib import contextmanager

    @contextmanager
    def guard() -> Iterator[None]:
        logging.getLogger("transformers").setLevel(logging.ERROR)
        try:
            yield
        except UserError:
            raise
        except ImportError as error:
            raise UserError(f"cannot import transformers: {error}", todo="pip install 'adaptbench[torch]'") from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            local = Path(path).expanduser().is_dir()
            todo = (
                "it needs config.json, preprocessor_config.json and model.safetensors, as save_pretrained writes them"
                if local
                else "check the hub id and the network, or give the path of a local folder"
            )
            raise UserError(f"cannot load it: {_first_line(error)}", where=f"hf:{path}", todo=todo) from error

    return guard()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
