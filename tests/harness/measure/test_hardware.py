"""What a run ran on: said the same by every part of a process, cheaply, and with a GPU where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import adaptbench
import pytest
from adaptbench.harness.measure import hardware

if TYPE_CHECKING:
    from collections.abc import Callable

GPU = """
NVML_CLOCK_SM = 1
NVML_TEMPERATURE_GPU = 0
class NVMLError(Exception): pass
def nvmlInit(): {init}
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(handle): return "Fake G100"
def nvmlSystemGetDriverVersion(): return "999.1"
def nvmlDeviceGetClockInfo(handle, kind): return 1410
def nvmlDeviceGetPowerManagementLimit(handle): return 300000
def nvmlDeviceGetMaxClockInfo(handle, kind): return 1530
def nvmlDeviceGetPowerUsage(handle): return 120000
def nvmlDeviceGetTemperature(handle, kind): raise NVMLError("not supported")
def nvmlDeviceGetHandleByUUID(uuid):
    if uuid != "GPU-1234": raise NVMLError(uuid)
    return uuid
def nvmlDeviceGetComputeRunningProcesses(handle): return [] if handle == 0 else ["this", "another"]
"""


def said_by_another_process(expression: str, path: Path | None = None, **environment: str) -> object:
    """Evaluate in a fresh process and return the JSON of it."""
    code = f"import json, sys\nfrom adaptbench.harness.measure import hardware\nprint(json.dumps({expression}))"
    paths = [str(path) if path else "", str(Path(adaptbench.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def with_gpu(folder: Path, init: str) -> Path:
    (folder / "pynvml.py").write_text(GPU.format(init=init), encoding="utf-8")
    return folder


def test_a_session_has_one_name_and_another_process_another() -> None:
    assert hardware.session_id() == hardware.session_id()
    assert said_by_another_process("hardware.session_id()") != hardware.session_id()


def test_the_machine_is_one_line_and_says_its_cores() -> None:
    line = hardware.machine()
    assert line == hardware.machine().strip()
    assert "\n" not in line
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert f"{cores} core" in line


def test_a_limit_on_threads_makes_another_machine_of_it() -> None:
    assert said_by_another_process("hardware.machine()", OMP_NUM_THREADS="1") != said_by_another_process(
        "hardware.machine()"
    )


def test_describing_loads_no_torch_and_is_the_same_with_it() -> None:
    """What computes is told by what is loaded then."""
    modules = ("json", "numpy", "torch")
    described = "[__import__(module) and [hardware.kernels(), hardware.machine.__wrapped__(), 'torch' in sys.modules]"
    asked = f"{described} for module in {modules} if hardware.describe()]"
    before, numpy, torch = said_by_another_process(asked, OMP_NUM_THREADS="2", ATEN_CPU_CAPABILITY="default")  # type: ignore[misc]
    assert (before[0], before[2], numpy[2], torch[2]) == ({}, False, False, True)
    (blas,) = numpy[0].values()
    assert blas.endswith(", 2 threads")
    assert torch[0] == numpy[0] | {"torch": "DEFAULT, 2 threads"}
    assert before[1] == numpy[1] == torch[1], "the machine"


def test_the_description_is_json_and_names_versions() -> None:
    described = hardware.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["packages"]["numpy"] == __import__("numpy").__version__
    assert described["machine"] == hardware.machine()


def test_a_package_that_is_not_installed_is_left_out() -> None:
    code = "hardware.describe()['packages']"
    hidden = (
        f"(setattr(hardware, 'version', lambda name: (_ for _ in ()).throw(hardware.PackageNotFoundError)), {code})[1]"
    )
    assert said_by_another_process(hidden) == {}


def test_a_gpu_is_named_with_driver_clock_and_power(tmp_path: Path) -> None:
    line, described = said_by_another_process(  # type: ignore[misc]
        "[hardware.machine(), hardware.describe()]", with_gpu(tmp_path, "pass")
    )
    assert "Fake G100" in line
    assert {"Fake G100", "999.1", 1410, 300000} <= set(described["gpu"].values())


def test_a_driver_that_does_not_answer_is_no_gpu(tmp_path: Path) -> None:
    assert not said_by_another_process("hardware.describe()['gpu']", with_gpu(tmp_path, "raise NVMLError"))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Take the driver's place in this process: what it does at first, and the identifier of torch's GPU."""

    def install(init: str, uuid: str) -> None:
        import torch

        fake = ModuleType("pynvml")
        exec(GPU.format(init=init), fake.__dict__)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid=uuid))

    return install


def test_the_state_of_a_gpu_is_what_the_driver_tells_of_the_one_that_torch_means(driver: Callable) -> None:
    driver("pass", "1234")
    assert hardware.gpu_state("cuda:1") == {
        "sm_clock_mhz": 1410, "sm_clock_max_mhz": 1530, "power_mw": 120000, "power_limit_mw": 300000,
        "other_processes": 1,
    }  # fmt: skip
    driver("pass", "5678")
    assert hardware.gpu_state("cuda:1") == {}


def test_a_driver_that_does_not_answer_tells_no_state(driver: Callable) -> None:
    driver("raise NVMLError", "1234")
    assert hardware.gpu_state("cuda") == {}
