"""Are times right? The device's clock against work of known length, and against the processor's clock.

A sleep kernel of twice the cycles takes twice as long; so do twice as many products of matrices, whose FLOPs are known.
Without a GPU the same is asked of the processor's clock, with sleeps of known seconds.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .setting import Setting, Tell

_NAPS = (1, 2, 4, 8)
_CYCLES, _SECONDS = 10_000_000, 0.002
"""Of the shortest sleep: on a GPU, about 6 ms; elsewhere."""
_SIDE, _SMALL_SIDE = 8192, 384
"""Rows and columns of the matrices."""
_TURNS = 5


def run(setting: Setting, tell: Tell) -> None:
    """Time sleeps and products, and check what must hold."""
    from adaptbench.harness.measure.hardware import gpu_state

    figures: dict[str, Any] = {}
    multiply, flops = _products(setting)
    for _ in range(3):  # the device wakes up
        multiply(4)()
    figures["products"] = [
        {"count": count, "flops": count * flops} | _timed(setting, multiply(count)) for count in (4, 8)
    ]
    sleep = _sleeps(setting)
    figures["sleeps"] = [
        {"cycles" if setting.gpu else "seconds": naps * (_CYCLES if setting.gpu else _SECONDS)}
        | _timed(setting, sleep(naps))
        for naps in _NAPS
    ]
    figures["state"] = gpu_state(setting.device) if setting.gpu else {}
    figures["nothing"], _ = _by_both(setting, lambda: None)
    figures["queued"] = _by_both(setting, sleep(1), before=sleep(4))[0] if setting.gpu else None
    figures["checks"] = _checks(setting, figures)
    tell(figures)


def _sleeps(setting: Setting) -> Callable[[int], Callable[[], object]]:
    import torch

    if setting.gpu:
        return lambda naps: lambda: torch.cuda._sleep(naps * _CYCLES)  # ends when the GPU's clock has gone so far
    return lambda naps: lambda: time.sleep(naps * _SECONDS)


def _products(setting: Setting) -> tuple[Callable[[int], Callable[[], object]], int]:
    """Count -> what multiplies square matrices that often, and the FLOPs of once."""
    import torch

    side = _SIDE if setting.gpu else _SMALL_SIDE
    left, right = torch.randn(2, side, side, device=setting.device).to(getattr(torch, setting.precision[0]))
    out = torch.empty_like(left)

    def multiply(count: int) -> Callable[[], object]:
        return lambda: [torch.mm(left, right, out=out) for _ in range(count)]

    return multiply, 2 * side**3


def _timed(setting: Setting, call: Callable[[], object]) -> dict[str, float]:
    """By AdaptBench's clock of the device, over the processor's at the same time, and until the call has returned."""
    clock, over_wall = _by_both(setting, call)
    returned = min(setting.wall(call)[0] for _ in range(_TURNS))
    return {"seconds": clock, "over_wall": over_wall, "returned": returned}


def _by_both(
    setting: Setting, call: Callable[[], object], before: Callable[[], object] | None = None
) -> tuple[float, float]:
    """The least seconds of some turns by the device's clock, and their usual ratio to the processor's clock."""
    found, ratios = [], []
    for _ in range(_TURNS):
        if before is not None:
            before()
        _, wall = setting.wall(lambda: found.append(setting.clock.time(call)), wait=before is None)
        ratios.append(found[-1] / wall)
    return min(found), statistics.median(ratios)


def _checks(setting: Setting, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What must hold: what is compared, what was found, and its bounds; without a verdict where it was not run."""
    short, *_, long = figures["sleeps"]
    few, many = figures["products"]
    asked = [
        ("a long sleep: device's clock / processor's clock", long["over_wall"], 0.97, 1.001),
        ("products: device's clock / processor's clock", many["over_wall"], 0.95, 1.001),
        (f"a sleep of {_NAPS[-1]} times the length / a short one", long["seconds"] / short["seconds"], 7.6, 8.2),
        ("twice as many products / once", many["seconds"] / few["seconds"], 1.8, 2.2),
        ("nothing at all, in seconds", figures["nothing"], 0.0, 1e-4),
    ]
    on_gpu = [
        ("launching a long sleep / the sleep", long["returned"] / long["seconds"], 0.0, 0.1),
        ("a sleep behind one that was queued before / alone", (figures["queued"] or 0) / short["seconds"], 0.95, 1.05),
        ("cycles of a sleep per second / the GPU's clock", _of_clock(figures), 0.8, 1.05),
        ("products per second / the data sheet's peak", _of_peak(setting, many), 0.3, 1.0),
    ]
    return [
        {
            "name": name, "found": found if run else None, "least": least, "most": most,
            "holds": least <= found <= most if run and found is not None else None,
        }
        for every, run in ((asked, True), (on_gpu, setting.gpu))
        for name, found, least, most in every
    ]  # fmt: skip


def _of_clock(figures: dict[str, Any]) -> float | None:
    """How fast the sleep's cycles went by, as a share of the clock that the driver tells."""
    told, long = figures["state"].get("sm_clock_mhz"), figures["sleeps"][-1]
    return long["cycles"] / long["seconds"] / (1e6 * told) if told and "cycles" in long else None


def _of_peak(setting: Setting, products: dict[str, Any]) -> float | None:
    from .prefill import card

    known = card(setting)
    if known is None:
        return None
    return products["flops"] / products["seconds"] / known.peak_of(setting.precision[1])
