"""The check of a GPU, on the processor: what it writes, and what it writes of parts that fail."""

import json
import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import adaptbench
import pytest

ROOT = Path(adaptbench.__file__).parent
FAKES = {
    "right": "tell({'found': 1})",
    "failing": "tell({'found': 2})\n    raise ValueError('no luck')",
    "endless": "import time\n    time.sleep(600)",
}


@pytest.fixture(scope="module")
def gpu_check():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "ci")
        import random_llava
        from gpu_check import __main__, answers, clock, packages, page, prefill, setting

        yield SimpleNamespace(
            main=__main__, answers=answers, clock=clock, packages=packages, page=page, prefill=prefill,
            setting=setting, llava=random_llava,
        )  # fmt: skip


@pytest.fixture
def kept(gpu_check, tmp_path):
    """Run a part here, as small as it gets, and return what it kept."""

    def run(part):
        file = tmp_path / "kept.json"
        part.run(gpu_check.setting.Setting("cpu", True, tmp_path), gpu_check.setting.keeper(file))
        return json.loads(file.read_text())

    return run


def whole(parts):
    """What a check found whose parts have these figures."""
    told = {"status": "done", "error": "", "limit": 9, "seconds": 1.0}
    return {
        "made": "2026-01-02T03:04:05+00:00", "gpu_measured": False, "small": True, "device": {}, "seconds": 3.0,
        "environment": {"machine": "a processor", "gpu": {}, "packages": {}},
        "parts": {name: told | {"figures": figures} for name, figures in parts.items()},
    }  # fmt: skip


def test_a_part_that_fails_leaves_the_figures_of_the_others_and_its_own(gpu_check, tmp_path, monkeypatch):
    for name, body in FAKES.items():
        (tmp_path / f"fake_{name}.py").write_text(f"def run(setting, tell):\n    {body}\n")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'ci'}:{tmp_path}")
    monkeypatch.setattr(gpu_check.main, "_LEAST_SECONDS", 0.0)
    limits = {"right": 60, "failing": 60, "endless": 0.5, "late": -1}
    parts = {name: gpu_check.setting.Part(f"fake_{name}", limit) for name, limit in limits.items()}
    found = gpu_check.main.check(parts, gpu_check.setting.Setting("cpu", True, tmp_path), 600)
    told = {name: (part["status"], part["figures"], part["error"]) for name, part in found["parts"].items()}
    assert told["right"] == ("done", {"found": 1}, "")
    assert told["failing"] == ("failed", {"found": 2}, "ValueError: no luck")
    assert told["endless"] == ("stopped", None, "it was not done within 0 s")
    assert told["late"][0] == "not run"
    assert (found["gpu_measured"], found["small"], found["device"]["device"]) == (False, True, "cpu")
    shown = gpu_check.page.page(found)
    assert "No GPU was measured" in shown
    assert "failing failed, endless stopped, late not run" in shown
    assert "ValueError: no luck" in shown


def test_a_prefill_is_timed_beside_its_flops_its_memory_and_predictions_and_what_fails_is_named(
    gpu_check, kept, monkeypatch, tmp_path
):
    monkeypatch.setattr(gpu_check.llava, "METHODS", ("adallava-l@0.6", "fastv(k=99)"))
    monkeypatch.setattr(gpu_check.prefill, "_SMALL_BATCHES", (1,))
    with pytest.raises(RuntimeError, match=r"1 of 3 failed, first with UserError: .*after 99 of 4 blocks"):
        kept(gpu_check.prefill)
    figures = json.loads((tmp_path / "kept.json").read_text())
    [batch] = figures["batches"]
    base, adapted, failed = batch["rows"]
    assert (base["name"], adapted["name"], failed["name"]) == ("base", *gpu_check.llava.METHODS)
    assert base["flops_of_base"] == base["seconds_of_base"] == 1
    assert 0.5 < adapted["flops_of_base"] < 1
    for row in (base, adapted):
        assert row["seconds"] > 0
        assert row["peak_bytes"] > 0
        assert row["share_of_products"] == pytest.approx(row["flops"] / row["seconds"] / batch["products"])
        assert row["predicted_seconds"].keys() == {"its own rates"}
    assert "after 99 of 4 blocks" in failed["error"]
    shown = gpu_check.page.page(whole({"prefill": figures}))
    assert all(text in shown for text in ("Prefill of 1 prompt", "predicted: its own rates", "after 99 of 4 blocks"))


def test_answers_of_both_devices_are_compared_sample_by_sample(gpu_check, kept, monkeypatch):
    monkeypatch.setattr(gpu_check.answers, "SPECS", ("tiny-llava",))
    monkeypatch.setattr(gpu_check.answers, "TASKS", ("shapes-open",))
    monkeypatch.setattr(gpu_check.answers, "_SMALL_SAMPLES", 2)
    figures = kept(gpu_check.answers)
    [row] = figures["rows"]
    assert figures["devices"] == ["cpu", "cpu"]
    assert (row["model"], row["samples"], row["equal"], row["different"]) == ("tiny-llava", 2, 2, [])
    assert "both ran on the processor" in gpu_check.page.page(whole({"answers": figures}))


def test_an_answer_that_differs_is_shown(gpu_check):
    here, there = ({"answers": {"a": "red", "b": other}, "device": "", "seconds": None} for other in ("blue", "green"))
    row = gpu_check.answers._compared(("m", "t"), here, there)
    assert (row["equal"], row["different"]) == (1, [{"sample": "b", "here": "blue", "there": "green"}])
    shown = gpu_check.page.page(whole({"answers": {"devices": ["cpu", "cuda:0"], "rows": [row]}}))
    assert "1 of 2" in shown
    assert "does not hold" in shown


def test_times_are_checked_against_known_work(gpu_check, kept):
    figures = kept(gpu_check.clock)
    verdicts = [check["holds"] for check in figures["checks"]]
    assert len(verdicts) == 9
    assert verdicts[5:] == [None] * 4  # which need a GPU
    assert all(isinstance(verdict, bool) for verdict in verdicts[:5])
    assert all(sleep["seconds"] >= 0.002 for sleep in figures["sleeps"])
    assert gpu_check.page.page(whole({"clock": figures})).count("not run") >= 4


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA A100-SXM4-40GB", "A100-40G"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_a_card_is_found_by_the_name_that_torch_gives_it(gpu_check, monkeypatch, name, known):
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    found = gpu_check.prefill.card(gpu_check.setting.Setting("cuda:0", False, Path()))
    assert (found and found.name) == known


def test_what_is_not_installed_registers_itself_from_a_folder(gpu_check, tmp_path):
    gpu_check.packages._link(tmp_path)
    [found] = metadata.distributions(path=[str(tmp_path)])
    installed = {(point.group, point.name, point.value) for point in metadata.distribution("adaptbench").entry_points}
    registered = {(point.group, point.name, point.value) for point in found.entry_points}
    assert registered == {point for point in installed if point[0] != "console_scripts"}
    assert (tmp_path / "adaptbench" / "pyproject.toml").samefile(ROOT / "pyproject.toml")


def test_packages_that_the_machine_has_are_not_carried(gpu_check):
    carried = gpu_check.packages._closure({})
    assert {"fvcore", "iopath", "pydantic", "pydantic-core", "rapidfuzz", "transformers"} <= carried
    assert not {"torch", "scipy"} & carried
    known = {"transformers": metadata.version("transformers"), "pydantic": "1.0"}
    there = gpu_check.packages._closure(known)
    assert "transformers" not in there
    assert {"pydantic", "scipy"} <= there


def test_the_script_is_well_formed():
    subprocess.run(["bash", "-n", ROOT / "ci" / "gpu_check.sh"], check=True)
