"""``adaptbench train vtw``: after how many blocks a model can go on without visual tokens, from a few prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...harness.errors import UserError
from ...harness.store.files import write_atomic
from .calibration import calibration, load_base
from .vtw import VTW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ...harness.contracts import Prompt


def search_vtw(  # noqa: PLR0913, PLR0917 - one parameter is one option
    out: Path,
    base: str,
    eta: float = 0.003,
    first: int = 5,
    samples: int = 20,
    data: str = "",
    images: str = "",
    seed: int = 0,
) -> None:
    """Find k; ``out/vtw.json`` has it as ``k``, and the divergences of all that were tried.

    Args:
        out: Folder.
        base: Spec of a model whose decoder can be steered, with no method in it.
        eta: The greatest mean divergence, in nats; the release has 0.003 for LLaVA-1.5-7B and 0.0001 for
            LLaVA-1.6-7B.
        first: The smallest k that is tried.
        samples: Prompts; their task decides what k is, the release's is ScienceQA.
        data: A JSON file of conversations in LLaVA's format; without it, scenes of ``shapes`` are drawn.
        images: Folder that the paths of the images start from; default the one of the JSON file.
        seed: Of the prompts that are drawn.

    Raises:
        UserError: The base cannot be steered, the data cannot be read, or no k is good enough.
    """
    model = load_base(base)
    prompts = calibration(data, images, out, samples, seed)
    if not 1 <= first <= model.decoder.depth:
        todo = f"give 1 to {model.decoder.depth}"
        raise UserError(f"cannot try {first} of {model.decoder.depth} blocks", where="recipe vtw", todo=todo)
    tried: dict[int, float] = {}
    for k in range(first, model.decoder.depth + 1):
        tried[k] = divergence(model, VTW(k=k).apply(model), prompts)
        if tried[k] <= eta:
            break
    else:
        what = f"no k from {first} to {model.decoder.depth} has a mean divergence of at most {eta:g}"
        raise UserError(what, where="recipe vtw", todo="give a greater eta, or a smaller first")
    out.mkdir(parents=True, exist_ok=True)
    held = {"k": k, "eta": eta, "divergences": tried, "base": base, "samples": samples}
    write_atomic(out / "vtw.json", (json.dumps(held, indent=2) + "\n").encode())


def divergence(model: Any, other: Any, prompts: Sequence[Prompt]) -> float:
    """Return the mean Kullback-Leibler divergence in nats of another model's first token from a model's."""
    from torch.nn.functional import kl_div

    found = []
    for prompt in prompts:
        ours, theirs = (one.prefill([prompt])().float().log_softmax(dim=-1)[0] for one in (model, other))
        found.append(float(kl_div(theirs, ours, log_target=True, reduction="sum")))
    return sum(found) / len(found)
