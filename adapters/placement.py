"""Models that are split over several devices, the memory of the processor and a disk, by accelerate."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from ..harness.reading import read_json, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import torch

AUTOMATIC = ("auto", "balanced", "balanced_low_0", "sequential")
"""Ways in which accelerate fills devices."""
_OFFLOADED = ("cpu", "disk")


def arguments(device_map: str, offload_folder: str, where: str) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that split a model; nothing for one that is whole.

    Args:
        device_map: One of `AUTOMATIC`, or a JSON file: module -> number of a GPU, ``cpu`` or ``disk``; empty for none.
        offload_folder: Where weights go that are on the disk; empty to read them from the checkpoint.
        where: Which checkpoint, for messages.

    Raises:
        UserError: The map cannot be read, or there is a folder and no map.
    """
    if not device_map:
        if offload_folder:
            raise UserError("offload_folder is for a model that is split", where=where, todo="add device_map=auto")
        return {}
    given: Any = device_map
    if device_map not in AUTOMATIC:
        if not device_map.endswith(".json"):
            todo = f"choose from {', '.join(AUTOMATIC)}, or name a JSON file: module -> device"
            raise UserError(f"unknown device_map {device_map!r}", where=where, todo=todo)
        given = read_json(device_map)
        if not isinstance(given, dict) or not all(isinstance(place, int | str) for place in given.values()):
            what = f"it is {shown(given)}, not an object of modules and devices"
            raise UserError(what, where=device_map, todo='write it as in {"model": 0, "lm_head": "cpu"}')
    return {"device_map": given} | ({"offload_folder": offload_folder} if offload_folder else {})


def is_split(model: Any) -> bool:
    """Whether a model is on several devices, or in part on a disk."""
    return bool(getattr(model, "hf_device_map", None))


def device_of(model: Any) -> torch.device:
    """Return where a model's inputs go: of one that is split, where accelerate runs what is not on a device."""
    import torch

    if not is_split(model):
        device: torch.device = model.device
        return device
    return torch.device(next((place for place in model.hf_device_map.values() if place not in _OFFLOADED), "cpu"))


def devices_of(layers: Sequence[Any]) -> list[torch.device] | None:
    """Return where each layer of a split model runs; ``None`` of a whole one."""
    import torch

    found = [_execution_device(layer) for layer in layers]
    return None if None in found else [torch.device(one) for one in found if one is not None]


def _execution_device(layer: Any) -> Any:
    hooks = (getattr(module, "_hf_hook", None) for module in layer.modules())
    devices = (getattr(hook, "execution_device", None) for hook in hooks)
    return next((device for device in devices if device is not None), None)


def whole(module: Any) -> AbstractContextManager[None]:
    """While it lasts, a module's weights are where it runs, and may be used without calling it."""
    if not hasattr(module, "_hf_hook"):
        return nullcontext()
    from accelerate.utils import align_module_device

    aligned: AbstractContextManager[None] = align_module_device(module)
    return aligned
