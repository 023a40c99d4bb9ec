"""Does an adapted model save there? Prefills of LLaVA-1.5-7B with random weights, as it is and with methods.

Beside each time stand the FLOPs that the answers say they cost, what the card itself makes of bare products of
matrices, what it takes of memory, and what the roofline predicts: from the card's data sheet, and from its own rates.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import random_llava

from .setting import raise_if_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adaptbench.adapters.transformers_multimodal import HFMultimodal
    from adaptbench.harness.contracts import Prompt
    from adaptbench.harness.measure.roofline import Accelerator

    from .setting import Setting, Tell

_SMALL = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 4, "num_attention_heads": 4}
_BATCHES, _SMALL_BATCHES = (1, 8), (1, 2)
"""Prompts in a prefill: 8 are 69 TFLOPs, a tenth of a second at 700 TFLOP/s."""
_ROUNDS, _MOST_SECONDS = (5, 30), 25.0
"""Rounds in which all take turns, at least and at most, and seconds of a batch after which no other begins."""
_OWN = "its own rates"


def run(setting: Setting, tell: Tell) -> None:
    """Make the model, measure what the card does at most, and then batch by batch."""
    import adaptbench

    figures: dict[str, Any] = {"dtype": setting.precision[0]}
    start = time.perf_counter()
    folder = random_llava.write(
        setting.folder / "llava", *_sizes(setting), dtype=setting.precision[0], device=setting.device
    )
    _give_back(setting)
    written = time.perf_counter()
    spec = f"llava:{json.dumps(str(folder))}(dtype={setting.precision[0]})"
    base = adaptbench.load(spec, device=setting.device)
    setting.synchronise()
    figures["model"] = {
        "parameters": sum(weight.numel() for weight in base.module.parameters()),
        "text_tokens": random_llava.TEXT_TOKENS, "visual_tokens": random_llava.VISUAL_TOKENS,
        "written_seconds": written - start, "loaded_seconds": time.perf_counter() - written,
        "allocated_bytes": _allocated(setting),
    }  # fmt: skip
    figures["ceilings"] = _ceilings(setting)
    tell(figures)
    chips = [_own(setting, figures["ceilings"])]
    known = card(setting)
    if known is not None:
        chips.append(known)
        figures["data_sheet"] = {"name": known.name, "peak": known.peak, "bandwidth": known.bandwidth}
    specs = {"base": spec} | random_llava.with_schedulers(
        spec, setting.folder / "schedulers", base, random_llava.METHODS
    )
    figures["batches"] = []
    for size in _SMALL_BATCHES if setting.small else _BATCHES:
        prompts = [random_llava.prompt(base, image) for image in range(size)]
        figures["batches"].append(_batch(setting, specs, base, prompts, figures["ceilings"]["gemm"], chips))
        tell(figures)
    raise_if_failed([row for batch in figures["batches"] for row in batch["rows"]])


def card(setting: Setting) -> Accelerator | None:
    """The card's data sheet, if the table of accelerators has it."""
    import torch
    from adaptbench.harness.measure.roofline import accelerators

    if not setting.gpu:
        return None
    words = torch.cuda.get_device_name(setting.device).upper().replace("GB", "G").replace("-", " ").split()
    fitting = [name for name in accelerators() if set(name.upper().split("-")) <= {*words, "SXM"}]
    return accelerators()[max(fitting, key=len)] if fitting else None


def _sizes(setting: Setting) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The configs of tower and language model."""
    import adaptbench

    if setting.small:
        return random_llava.NARROW, _SMALL
    known = Path(adaptbench.__file__).parent / "models" / "architectures" / "llava-1.5-7b.json"
    config = json.loads(known.read_text(encoding="utf-8"))["config"]
    parts = (config["vision_config"], config["text_config"])
    vision, text = ({name: value for name, value in part.items() if name != "model_type"} for part in parts)
    return vision, text


def _ceilings(setting: Setting) -> dict[str, float]:
    """FLOPs a second of a large product of matrices, and bytes a second of a copy, read and written."""
    import torch

    side, length = (8192, 2**30) if setting.gpu else (512, 2**22)
    dtype = getattr(torch, setting.precision[0])
    left, right = torch.randn(2, side, side, device=setting.device).to(dtype)
    many = torch.zeros(length, dtype=dtype, device=setting.device)
    other, out = torch.empty_like(many), torch.empty_like(left)
    return {
        "gemm_side": side,
        "gemm": 2 * side**3 / _median(setting, lambda: torch.mm(left, right, out=out)),
        "copy": 2 * many.nbytes / _median(setting, lambda: other.copy_(many)),
    }


def _median(setting: Setting, call: Callable[[], object]) -> float:
    from adaptbench.harness.measure.timing import Effort, measure

    return measure(call, what="a ceiling", inputs=1, device=setting.device, effort=Effort(most=5.0)).median


def _own(setting: Setting, ceilings: Mapping[str, float]) -> Accelerator:
    """The card as it was measured."""
    from adaptbench.harness.measure.roofline import Accelerator

    peak = {setting.precision[1]: ceilings["gemm"]}
    return Accelerator.model_validate({"name": _OWN, "bandwidth": ceilings["copy"], "peak": peak})


def _batch(
    setting: Setting,
    specs: Mapping[str, str],
    base: HFMultimodal,
    prompts: list[Prompt],
    gemm: float,
    chips: list[Accelerator],
) -> dict[str, Any]:
    """The base and its methods on a batch, in turn; what fails is told and left out."""
    calls: dict[str, Callable[[], object]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        try:
            model = base if name == "base" else random_llava.steered(base, spec)
            rows[name] = {"name": name, **_costs(setting, spec, model, prompts, chips)}
            calls[name] = model.prefill(prompts)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are measured
            rows[name] = {"name": name, "error": f"{type(error).__name__}: {error}"}
    bare = random_llava.products(base, len(prompts))
    seconds, state = _in_turn(setting, calls | {"products": bare.run})
    products = bare.flops / float(np.median(seconds["products"]))
    for name in calls:
        middle, low, high = (float(q) for q in np.percentile(seconds[name], (50, 25, 75)))
        row = rows[name]
        row |= {"seconds": middle, "q1": low, "q3": high, "rounds": len(seconds[name])}
        row["share_of_gemm"] = row["flops"] / middle / gemm
        row["share_of_products"] = row["flops"] / middle / products
        if "seconds" in rows["base"]:
            for what in ("seconds", "flops", "peak_bytes"):
                row[f"{what}_of_base"] = row[what] / rows["base"][what]
    return {"prompts": len(prompts), "products": products, "gpu": state, "rows": list(rows.values())}


def _costs(
    setting: Setting, spec: str, model: HFMultimodal, prompts: list[Prompt], chips: list[Accelerator]
) -> dict[str, Any]:
    """What the answers say they cost, what memory their prefill takes, and what is predicted of both."""
    from adaptbench.harness.costing import Costing, CostRequest
    from adaptbench.harness.measure.memory import peak_memory
    from adaptbench.harness.plugins import load_plugins

    costs = [answer.cost for answer in model.answer(prompts)]
    request = CostRequest(
        random_llava.TEXT_TOKENS, batch=len(prompts), precision=setting.precision[1], accelerators=tuple(chips)
    )
    cost = Costing(load_plugins().registry, spec).cost(request)
    return {
        "flops": sum(cost.flops for cost in costs),
        "predicted_seconds": {
            chip: sum(seconds for part, seconds in parts.items() if part != "token")
            for chip, parts in cost.predicted.items()
        },
        "peak_bytes": peak_memory(model.prefill(prompts), setting.device),
        "predicted_bytes": cost.memory._asdict(),
    }


def _in_turn(
    setting: Setting, calls: Mapping[str, Callable[[], object]]
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of each call in each round, all warmed up, and the state of the GPU after the last."""
    from adaptbench.harness.measure.hardware import gpu_state

    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        setting.clock.time(call)
    least, most = (2, 2) if setting.small else _ROUNDS
    start = time.perf_counter()
    for done in range(most):
        if done >= least and time.perf_counter() - start > _MOST_SECONDS:
            break
        for name, call in calls.items():
            found[name].append(setting.clock.time(call))
    return found, gpu_state(setting.device) if setting.gpu else {}


def _give_back(setting: Setting) -> None:
    import gc

    import torch

    gc.collect()
    if setting.gpu:
        torch.cuda.empty_cache()


def _allocated(setting: Setting) -> int | None:
    import torch

    return torch.cuda.memory_allocated(setting.device) if setting.gpu else None
