#!/usr/bin/env bash
# The first FLOPs that torch counts in a process load its compiler: longer than to run many small models.
#
# Surprise: `FlopCounterMode` around one linear layer imports torch._dynamo with hundreds of modules (sympy among them),
# though nothing is compiled. On the machine where it was seen that took 1.1 s of processor time, at a layer that takes microseconds.
# Why: what a dispatch mode does to each operator is kept away from the compiler by a wrapper, and the wrapper fetches the
# compiler when it is first called, to tell it so.
# What a guess says: a counter adds up products of shapes, and `import torch` has loaded all that it takes.
# Seen 30 November 2026 with torch 2.13.0 (CPU), Python 3.11.
# Exit status 0: it is still so. 1: it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy
cat > count.py <<'PY'
import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

layer, given = torch.nn.Linear(3, 4), torch.ones(2, 3)
print("torch", torch.__version__)


def step(what, call):
    known, start = set(sys.modules), time.process_time()
    call()
    new = set(sys.modules) - known
    print(f"{what}: {time.process_time() - start:.3f} s of processor time, {len(new)} modules imported")
    return new


def count():
    with FlopCounterMode(display=False) as counter:
        layer(given)
    assert counter.get_total_flops() == 48


before = step("a layer", lambda: layer(given))
first = step("a layer, counted", count)
again = step("the same again", count)
loaded = "torch._dynamo" in first and len(first) > 100
sys.exit(not (loaded and "torch._dynamo" not in before and not again))
PY
venv/bin/python count.py
