"""What a run ran on: for the manifest, and to tell which times may be compared."""

from __future__ import annotations

import functools
import os
import platform
import secrets
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

_PACKAGES = (
    "adaptbench",
    "torch",
    "transformers",
    "fvcore",
    "numpy",
    "scipy",
    "pillow",
    "scikit-learn",
    "scikit-image",
    "matplotlib",
)

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have, before anything loads.

    Args:
        device: As torch calls it, such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UserError: There is no such device, or torch, which it needs, is not installed.
    """
    if device == "cpu":  # the usual one, which needs no torch
        return
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UserError("it needs torch", where=f"device {device}", todo="pip install torch, or use cpu") from error
    try:
        asked = torch.device(device)
        count = torch.get_device_module(asked.type).device_count()
    except (RuntimeError, AttributeError) as error:
        raise UserError("there is no such kind of device", where=f"device {device}", todo="use cpu or cuda") from error
    if (asked.index or 0) >= count:
        has = f"{count or 'no'} {asked.type} device{'s' * (count != 1)}"
        todo = f"use {asked.type}:0 to {asked.type}:{count - 1}" if count else "use cpu"
        raise UserError(f"this machine has {has} that torch can use", where=f"device {device}", todo=todo)


@functools.cache
def session_id() -> str:
    """Return the random name of this process' session: it separates the times of different sessions."""
    return secrets.token_hex(8)


@functools.cache
def machine() -> str:
    """Describe the machine in a line. Times are compared only between equal lines."""
    threads = f", OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}" if "OMP_NUM_THREADS" in os.environ else ""
    gpu = f", {_gpu()['name']}" if _gpu() else ""
    return f"{_cpu()}, {cores()} cores{threads}{gpu}"


def describe() -> dict[str, Any]:
    """Describe machine, operating system and the versions of what is installed, as JSON."""
    return {
        "machine": machine(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "memory_bytes": _memory(),
        "gpu": _gpu(),
        "packages": _versions(),
    }


def kernels() -> dict[str, str]:
    """Say which kernels compute products of matrices, and on how many threads: their rounding differs.

    Returns:
        Library -> its architecture and threads, such as ``openblas`` -> ``SkylakeX, 2 threads``: of the libraries of
        linear algebra that this process has loaded by now, and of torch if it is imported.
    """
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    found = {
        pool["internal_api"]: _threads(pool.get("architecture") or pool["version"], pool["num_threads"])
        for pool in sorted(pools, key=lambda pool: pool["filepath"])
    }
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = _threads(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())
    return found


def use_threads(count: int) -> None:
    """Compute on this many threads: in libraries that are loaded, and in those that will be.

    A library reads the environment when it is loaded, and torch when it is imported; so both ways are needed.
    """
    from threadpoolctl import threadpool_limits

    os.environ |= thread_variables(count)
    threadpool_limits(count)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def thread_variables(count: int) -> dict[str, str]:
    """The environment of a process that computes on this many threads."""
    return dict.fromkeys(_THREADS, str(count))


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(architecture: str | None, threads: int) -> str:
    return f"{architecture or 'unknown'}, {threads} thread{'s' * (threads != 1)}"


def _versions() -> dict[str, str]:
    return {package: found for package in _PACKAGES if (found := _version(package))}


@functools.cache
def _version(package: str) -> str:
    """The version of a package as it was when this process first asked; empty without it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@functools.cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


@functools.cache
def _gpu() -> dict[str, Any]:
    """Name, driver, clock and power of the first GPU; empty without one or without nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        return {
            "name": pynvml.nvmlDeviceGetName(handle),
            "driver": pynvml.nvmlSystemGetDriverVersion(),
            "sm_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "power_limit_mw": pynvml.nvmlDeviceGetPowerManagementLimit(handle),
            "processes": len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        }
    except pynvml.NVMLError:
        return {}


def gpu_state(device: str) -> dict[str, int]:
    """Clock, power, temperature and other processes of a GPU now: what makes its times worth more or less.

    Args:
        device: As torch calls it, such as ``cuda`` or ``cuda:1``; this process is at work on it.

    Returns:
        What the driver tells, by name; empty without nvidia-ml-py or a driver that answers.
    """
    try:
        import pynvml
    except ImportError:
        return {}
    import torch

    try:
        pynvml.nvmlInit()
        # The driver numbers its GPUs in its own way; the identifier is the same on both sides.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except pynvml.NVMLError:
        return {}
    questions: dict[str, Callable[[], Any]] = {
        "sm_clock_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "sm_clock_max_mhz": lambda: pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "power_mw": lambda: pynvml.nvmlDeviceGetPowerUsage(handle),
        "power_limit_mw": lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle),
        "temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        # One of them is this process, under whatever number a container hides it.
        "other_processes": lambda: max(0, len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) - 1),
    }
    state = {}
    for name, ask in questions.items():
        with suppress(pynvml.NVMLError):  # not every GPU has an answer to everything
            state[name] = int(ask())
    return state
