"""Run the numerical tests under every matrix kernel that this processor has, on one thread and on two.

A processor without AVX-512 rounds products otherwise than one with it, and so do two threads. What the tests ask must
hold under each. The variables below make OpenBLAS, torch, oneDNN and MKL run as on an older processor; one that asks
for more than this processor has is ignored, so the libraries themselves are asked what they run, and the same kernels
are not tested twice.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

TESTS = [
    *("adapters/test_attention_maps.py", "adapters/test_causal.py", "adapters/test_decoder.py"),
    *("adapters/test_generation_config.py", "adapters/test_multimodal.py", "adapters/test_sweeps_share.py"),
    *("harness/test_batching.py", "harness/test_stats.py", "harness/test_sweeps.py"),
    *("leaderboards/test_board_ranking.py", "models", "tasks/fewshot"),
]
COUNTS = "flops or counted or counters or traced"
"""Tests of what is counted come to the same under all of them."""
OPENBLAS = ("Prescott", "Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids")
TORCH = {
    "default": {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {},
}
THREADS = ("1", "2")
ASK = "import numpy, torch; from adaptbench.harness.measure.hardware import kernels; print(kernels())"


def kernels(variables: dict[str, str]) -> dict[str, str]:
    """Ask the libraries what they run, such as ``{"openblas": "SkylakeX, 1 thread", ...}``."""
    said = subprocess.run([sys.executable, "-c", ASK], env=os.environ | variables, stdout=subprocess.PIPE, check=True)
    return ast.literal_eval(said.stdout.decode())


def settings() -> dict[str, dict[str, str]]:
    """Name -> variables: each kernel of either library at least once, on each number of threads."""
    blas = {kernels({"OPENBLAS_CORETYPE": name})["openblas"]: {"OPENBLAS_CORETYPE": name} for name in OPENBLAS}
    torch = {
        kernels({"ATEN_CPU_CAPABILITY": name})["torch"]: {"ATEN_CPU_CAPABILITY": name, **more}
        for name, more in TORCH.items()
    }
    first, second = list(blas.values()), list(torch.values())
    pairs = [first[place % len(first)] | second[place % len(second)] for place in range(max(len(first), len(second)))]
    found = [pair | {"OMP_NUM_THREADS": threads} for pair in pairs for threads in THREADS]
    return {"; ".join(f"{library} {kernel}" for library, kernel in kernels(one).items()): one for one in found}


def main(arguments: list[str]) -> int:
    outcomes = {}
    for name, variables in settings().items():
        print(f"== {name}", flush=True)
        started = time.monotonic()
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup"]
        chosen = arguments or ["-k", f"not ({COUNTS})", *(str(Path("tests") / path) for path in TESTS)]
        status = subprocess.run([sys.executable, *command, *chosen], env=os.environ | variables, check=False).returncode
        outcomes[name] = f"{'green' if status == 0 else 'RED'}  {time.monotonic() - started:4.0f} s  {name}"
    print("\n".join(outcomes.values()))
    return int(any(outcome.startswith("RED") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
