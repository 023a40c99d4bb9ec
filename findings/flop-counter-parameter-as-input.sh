#!/usr/bin/env bash
# torch's FlopCounterMode fails under no_grad as soon as a module is given an expanded parameter: "Expected gradient
# function to be set". With gradients the same pass is counted.
#
# Surprise: counting FLOPs needs no gradients and is done without, and the model runs; what ends the count is an assertion
# of the autograd engine. Models that ask learned latents or queries hit it: Idefics2's perceiver is one.
# Why: FlopCounterMode names modules by a ModuleTracker, which puts a hook on every input that wants a gradient, whether
# or not gradients are recorded. A view of a parameter says that it wants one, also under no_grad, where nothing leads to
# it.
# What a guess says: no_grad is the right thing around a count; or inference_mode helps. Either fails; to let the
# parameters want no gradient (requires_grad_(False)) is what helps.
# Seen 29 November 2026 with torch 2.13.0 (CPU), Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy
cat > count.py <<'PY'
import sys

import torch
from torch.utils.flop_counter import FlopCounterMode


class Asking(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.latents, self.inner = torch.nn.Parameter(torch.ones(1, 4)), torch.nn.Linear(4, 3, bias=False)

    def forward(self):
        return self.inner(self.latents.expand(1, 4))


def counted(context, learning):
    model = Asking().eval().requires_grad_(learning)
    with context():
        model()  # it runs
        try:
            with FlopCounterMode(display=False) as counter:
                model()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return f"{counter.get_total_flops()} FLOPs"


print("torch", torch.__version__)
found = {}
for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
    for learning in (True, False):
        found[context.__name__, learning] = counted(context, learning)
        print(f"{context.__name__}, requires_grad={learning}: {found[context.__name__, learning]}")
right = all(told == "24 FLOPs" for (name, learning), told in found.items() if not learning or name == "enable_grad")
wrong = all("FLOPs" not in found[name, True] for name in ("no_grad", "inference_mode"))
sys.exit(not (right and wrong))
PY
venv/bin/python count.py
