"""Predicted time: the roofline itself, and accelerators by name or by file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.closed_form import Operator
from adaptbench.harness.measure.roofline import Accelerator, Precision, accelerators, find_accelerator, predict
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

CHIP = Accelerator(name="chip", bandwidth=10.0, peak={"fp16": 100.0, "int8": 200.0})
COUNTS = st.integers(0, 10**6)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.integers(1, 64))
def test_an_operator_is_bound_by_arithmetic_or_by_traffic(
    flops: int, weights: int, read: int, written: int, batch: int
) -> None:
    operator = Operator("prefill", "m", "o", flops, weights, read, written)
    moved = 2 * (weights + batch * (read + written)) / 10
    assert CHIP.seconds(operator, batch=batch) == pytest.approx(max(batch * flops / 100, moved))
    assert CHIP.seconds(operator, "int8", batch) == pytest.approx(max(batch * flops / 200, moved / 2))


def test_operators_run_one_after_the_other() -> None:
    compute, memory = Operator("prefill", "m", "a", 1000, 1, 0, 0), Operator("prefill", "m", "b", 1, 500, 0, 0)
    assert predict([compute, memory], CHIP) == pytest.approx(10 + 100)


@pytest.mark.parametrize(
    ("name", "preset", "precision"),
    [("V100", "default", "bf16"), ("V100", "llm-viewer", "bf16"), ("A100-80G", "default", "fp8")],
)  # fmt: skip
def test_a_precision_that_a_chip_does_not_have_is_refused(name: str, preset: str, precision: Precision) -> None:
    with pytest.raises(UserError, match=f"{name} does not compute in {precision}; choose from fp"):
        find_accelerator(name, preset).peak_of(precision)


def test_accelerators_are_as_their_makers_state_them() -> None:
    sxm, pcie = find_accelerator("h100-sxm"), find_accelerator("H100-PCIe")
    assert (sxm.bandwidth, pcie.bandwidth) == (3.35e12, 2.0e12)
    assert (sxm.peak_of("bf16"), pcie.peak_of("bf16")) == (989.5e12, 756.5e12)
    assert (sxm.memory, sxm.link, pcie.link) == (80e9, 900e9, 600e9)
    for chip in accelerators().values():
        assert chip.memory
        assert chip.link
        assert chip.peak["fp32"] < chip.peak["fp16"]
        assert chip.peak.get("bf16", chip.peak["fp16"]) == chip.peak["fp16"]


def test_a_preset_keeps_the_numbers_of_its_tool() -> None:
    """As the tool has them; not all are what makers state."""
    assert [find_accelerator(name, "llm-viewer").bandwidth for name in ("H100-SXM", "H100-PCIe")] == [3072e9, 2048e9]
    assert set(accelerators("llm-viewer")) <= set(accelerators())
    assert all(chip.on_chip for chip in accelerators("llm-viewer").values())


def test_an_own_accelerator(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("mine: {bandwidth: 5.0e+11, peak: {fp16: 50.0e+12, fp32: 25.0e+12}}\n")
    mine = find_accelerator(str(path))
    assert (mine.name, mine.bandwidth, mine.peak_of("fp32")) == ("mine", 5e11, 25e12)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("mine: {bandwith: 1.0, peak: {fp16: 1.0}}", "bandwith.*did you mean 'bandwidth'|bandwidth: Field required"),
        ("mine: {bandwidth: -1.0, peak: {fp16: 1.0}}", "greater than 0"),
        ("mine: {bandwidth: 1.0, peak: {}}", "peak"),
        ("mine: 5", "peak: Field required"),
        ("one: {bandwidth: 1.0, peak: {fp16: 1.0}}\ntwo: {bandwidth: 1.0, peak: {fp16: 1.0}}", "2 accelerators"),
        ("- a list", "holds no fields"),
        ("a: [", "line"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=said) as caught:
        find_accelerator(str(path))
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown hardware 'H100-SMX'.*H100-SXM"):
        find_accelerator("H100-SMX")
