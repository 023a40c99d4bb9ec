"""Whether a network is still what it was: a method that changes it in place would change what comes after, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def state_of(network: Any) -> str:
    """Describe a network such that what changes it in place is seen: its modules, their hooks, configs and weights.

    Weights are seen by where they are, how often torch saw them change, and their sums: 0.04 s per GB on one core.

    Args:
        network: transformers' model.
    """
    modules = [
        (id(one), vars(one).get("forward"), [*one._forward_hooks], [*one._forward_pre_hooks])
        for one in network.modules()
    ]
    configs = [vars(one.config) for one in network.modules() if hasattr(one, "config")]
    return repr((modules, configs, [_state(one) for one in (*network.parameters(), *network.buffers())]))


def _state(tensor: torch.Tensor) -> object:
    return None if tensor.is_meta else (tensor.data_ptr(), tensor._version, tensor.sum().item())
