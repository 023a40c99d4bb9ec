"""Check a GPU in at most eight minutes: ``ci/gpu_check.sh`` runs this once the packages are there.

Each part has a process and a time limit of its own, so that one that fails leaves the others' figures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .setting import Part, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = {
    "clock": Part("gpu_check.clock", 60),
    "answers": Part("gpu_check.answers", 140),
    "prefill": Part("gpu_check.prefill", 300),
}
_SECONDS, _PAGE_SECONDS = 480.0, 20.0
"""For all of it, and what of it is kept for the page and for the removal of the model's weights."""
_LEAST_SECONDS = 5.0
_ROOM = 40 * 10**9
"""Bytes that LLaVA-1.5-7B takes on a disk, twice and more."""


def main() -> None:
    """Run the parts, and write ``gpu-check.json`` and ``gpu-check.html``."""
    parser = argparse.ArgumentParser(description=__doc__, prog="ci/gpu_check.sh")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-check"), help="folder for the JSON and the page")
    parser.add_argument("--small", action="store_true", help="a small model; always so without a GPU")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for all of it; parts get more if it is more")
    parser.add_argument("--scratch", type=Path, help="folder for the model's weights (14 GB)")
    asked, start = parser.parse_args(), time.monotonic()
    import torch

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    small = asked.small or device == "cpu"
    asked.out.mkdir(parents=True, exist_ok=True)
    scratch = asked.scratch or _scratch()
    scratch.mkdir(parents=True, exist_ok=True)
    longer = max(1.0, asked.seconds / _SECONDS)
    parts = {name: Part(part.module, longer * part.limit) for name, part in PARTS.items()}
    with tempfile.TemporaryDirectory(dir=scratch, prefix="gpu-check-", ignore_cleanup_errors=True) as folder:
        left = asked.seconds - _PAGE_SECONDS - (time.monotonic() - start)
        found = check(parts, Setting(device, small, Path(folder)), left)
    (asked.out / "gpu-check.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    from .page import page

    (asked.out / "gpu-check.html").write_text(page(found), encoding="utf-8")
    for name, part in found["parts"].items():
        print(f"{name}: {part['status']}, {part['seconds']:.0f} s {part['error']}".rstrip())
    print(f"{asked.out / 'gpu-check.json'}\n{asked.out / 'gpu-check.html'}")
    sys.exit(any(part["status"] != "done" for part in found["parts"].values()))


def check(parts: Mapping[str, Part], setting: Setting, most: float) -> dict[str, Any]:
    """Run parts one after the other and return what each found, or why it did not.

    Args:
        parts: By name.
        setting: How they run.
        most: Seconds of all together.
    """
    from adaptbench.harness.measure.hardware import describe

    start, told = time.monotonic(), {}
    for name, part in parts.items():
        left = most - (time.monotonic() - start)
        print(f"{name}: at most {min(part.limit, left):.0f} s", flush=True)
        told[name] = _run(name, part, setting, left)
    return {
        "schema": 1,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu_measured": setting.gpu,
        "small": setting.small,
        "device": _about(setting),
        "environment": describe(),
        "seconds": time.monotonic() - start,
        "parts": told,
    }


def _run(name: str, part: Part, setting: Setting, left: float) -> dict[str, Any]:
    """Run one part within its limit and what is left of the time."""
    limit = min(part.limit, left)
    told: dict[str, Any] = {"status": "not run", "error": "", "limit": part.limit, "seconds": 0.0, "figures": None}
    if limit < _LEAST_SECONDS:
        return told | {"error": f"only {max(0.0, left):.0f} s were left"}
    file, log = setting.folder / f"{name}.json", setting.folder / f"{name}.log"
    command = [sys.executable, "-m", "gpu_check.child", part.module, file, setting.folder, setting.device]
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        child = subprocess.Popen(
            [*map(str, command), *(["--small"] if setting.small else [])],
            stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = child.wait(limit)
            status = "failed" if code else "done"
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            status = "stopped"
    told |= {"status": status, "seconds": time.monotonic() - start}
    if status != "done":
        last = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()][-1:]
        told["error"] = "".join(last) if status == "failed" else f"it was not done within {limit:.0f} s"
    with suppress(OSError):
        told["figures"] = json.loads(file.read_text(encoding="utf-8"))
    return told


def _about(setting: Setting) -> dict[str, Any]:
    """The device, asked after all parts so that this process does not use it meanwhile."""
    try:
        return setting.about()
    except RuntimeError as error:  # a part may have left it unusable
        return {"device": setting.device, "error": str(error).partition("\n")[0]}


def _scratch() -> Path:
    """Memory, if there is room for the model's weights in it, else where temporary files go."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM else Path(tempfile.gettempdir())


if __name__ == "__main__":
    main()
