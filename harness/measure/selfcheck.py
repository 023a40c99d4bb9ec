"""Checks of the cost engine that a user can run: ``adaptbench doctor --cost``.

Each is a case in which counters are known to go wrong, with an answer that is known beforehand.
"""

from __future__ import annotations

import functools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .counting import Counter
from .flops import count_flops
from .savings import judge_saving
from .timing import CpuClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from .counting import Blueprint

_WIDTH = 8


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found."""

    name: str
    ok: bool
    detail: str


def check_costs(blueprints: Sequence[Blueprint] = ()) -> Iterator[Check]:
    """Run every check.

    Args:
        blueprints: Architectures whose closed form is compared with the counters.
    """
    checks = (_unit, _attention, _uncounted, _masked, _unread, _router, _time)
    for check in checks:
        yield _run(check)
    for blueprint in blueprints:
        yield _run(functools.partial(_closed_form, blueprint), f"closed form: {blueprint.source}")


def _run(check: Callable[[], tuple[bool, str]], name: str = "") -> Check:
    title = name or (check.__doc__ or "").strip().rstrip(".")
    try:
        ok, detail = check()
    except UserError as error:
        ok, detail = False, str(error)
    return Check(title, ok, detail)


def _unit() -> tuple[bool, str]:
    """One multiply-accumulate is two FLOPs."""
    import torch

    counted = _count(torch.nn.Linear(3, 5, bias=False), torch.ones(7, 3))
    return counted == 2 * 7 * 3 * 5, f"7 x 3 by 3 x 5: {counted} FLOPs"


def _attention() -> tuple[bool, str]:
    """Fused attention counts as much as its separate products."""
    import torch

    def eager(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ x.transpose(-1, -2), dim=-1) @ x

    def fused(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)

    states = torch.ones(1, 2, 6, 4)
    one, two = _count(_calls(eager), states), _count(_calls(fused), states)
    return one == two == 2 * 2 * 2 * 6 * 6 * 4, f"separate {one}, fused {two} FLOPs"


def _uncounted() -> tuple[bool, str]:
    """An operator without a counter is an error, unless it is waived by name."""
    import torch

    module, states = _calls(lambda x: torch.fft.fft(x).abs()), torch.ones(2, 4)
    try:
        _count(module, states)
    except UserError as error:
        refused = str(error)
    else:
        return False, "aten::fft_fft was counted as nothing"
    waived = count_flops(module, {"x": states}, waive=("aten::fft_fft",)).waived
    return waived == ("aten::fft_fft",), refused


def _masked() -> tuple[bool, str]:
    """Layers that are masked instead of skipped save nothing."""
    import torch

    states = torch.ones(1, _WIDTH)
    base, skipped, masked = (_layers(keep, mask) for keep, mask in ((4, False), (2, False), (2, True)))
    real, claimed = (judge_saving(base, other, {"x": states}, planned=0.5) for other in (skipped, masked))
    return real.real and not claimed.real, f"skipped: {real.reason}; masked: {claimed.reason}"


def _unread() -> tuple[bool, str]:
    """A layer that runs but is not read counts."""
    import torch

    counted = _count(_layers(4, False, unread=True), torch.ones(1, _WIDTH))
    return counted == 4 * 2 * _WIDTH**2, f"{counted} FLOPs in 4 layers of {2 * _WIDTH**2}"


def _router() -> tuple[bool, str]:
    """A router that only steers what runs counts."""
    import torch

    class Routed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router, self.work = torch.nn.Linear(_WIDTH, 64), torch.nn.Linear(_WIDTH, _WIDTH)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.work(x) if bool(self.router(x).sum() > -1e9) else x

    counted = _count(Routed(), torch.ones(1, _WIDTH))
    return counted == 2 * _WIDTH * (64 + _WIDTH), f"{counted} FLOPs, {2 * _WIDTH * 64} of them the router's"


def _time() -> tuple[bool, str]:
    """Time falls when FLOPs fall, on layers large enough to show it."""
    import torch

    width, depth, pairs = 768, 8, 21
    states, clock = torch.ones(256, width), CpuClock()
    layers = [torch.nn.Linear(width, width) for _ in range(depth)]

    def run(keep: int) -> None:
        x = states
        for layer in layers[:keep]:
            x = layer(x)

    # In turn, so that whatever else the machine does falls on both.
    with torch.inference_mode():
        run(depth)
        ratios = [clock.time(lambda: run(depth // 2)) / clock.time(lambda: run(depth)) for _ in range(pairs)]
    ratio = statistics.median(ratios)
    return ratio < 0.75, f"half the layers take {ratio:.2f} of the time"


def _closed_form(blueprint: Blueprint) -> tuple[bool, str]:
    from .reconcile import reconcile

    off = reconcile(Counter(blueprint, afresh=True), blueprint)
    return True, ", ".join(f"{phase} {share:.2%} off" for phase, share in off.items())


def _count(module: torch.nn.Module, states: torch.Tensor) -> int:
    name = "x" if not hasattr(module, "in_features") else "input"
    return count_flops(module, {name: states}).value


def _calls(function: Callable[[Any], Any]) -> torch.nn.Module:
    """A function as a module."""
    import torch

    class Calls(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = function(x)
            return result

    return Calls()


def _layers(keep: int, mask: bool, unread: bool = False) -> torch.nn.Module:
    """Four layers, of which the first ``keep`` change the result: the others are skipped, or run and masked."""
    import torch

    class Layers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(_WIDTH, _WIDTH, bias=False) for _ in range(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            states = [x]
            for place, layer in enumerate(self.layers):
                if place < keep or mask:
                    states.append(states[-1] + layer(states[-1]) * float(place < keep))
            return states[-2] if unread else states[-1]

    return Layers()
