"""Predicted time: each operator takes as long as its arithmetic or its traffic, whichever is longer.

No launch cost, no overlap between operators: a prediction says how variants of a model relate, not what a clock would
show, and never stands in a column with measured times.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from ..errors import UserError
from ..specs import did_you_mean
from ..yaml_files import read_yaml, validated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .closed_form import Operator

Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8"]
BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "int8": 1}
"""Bytes of a number, the same for activations, keys and values, and weights that are not quantised."""
_FILES = {"llm-viewer": "llm_viewer_accelerators.yaml"}
"""Presets that take their tool's numbers instead of the makers'."""


class Accelerator(BaseModel):
    """What an accelerator can do at most.

    Attributes:
        name: How it is called.
        bandwidth: Bytes a second to and from memory.
        peak: Precision -> dense operations a second.
        memory: Bytes that it holds, if that is stated.
        link: Bytes a second to other accelerators, both directions together.
        on_chip: Bytes of on-chip memory, which bound the blocks of a fused attention kernel.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    bandwidth: PositiveFloat
    peak: dict[Precision, PositiveFloat] = Field(min_length=1)
    memory: PositiveFloat | None = None
    link: PositiveFloat | None = None
    on_chip: PositiveFloat | None = None

    def peak_of(self, precision: Precision) -> float:
        """Operations a second.

        Raises:
            UserError: It does not compute in that precision.
        """
        rate = self.peak.get(precision)
        if rate is None:
            known = ", ".join(self.peak)
            raise UserError(
                f"{self.name} does not compute in {precision}",
                where="--precision",
                todo=f"choose from {known}, or describe it in a file of your own",
            )
        return rate

    def sending(self, size: float) -> float:
        """Seconds to send ``size`` bytes to another accelerator; a `UserError` where no link is stated."""
        if not size:
            return 0.0
        if self.link is None:
            raise UserError(
                f"{self.name} says nothing of its link to others", todo="add link: BYTES_A_SECOND to its file"
            )
        return 2 * size / self.link

    @property
    def on_chip_bytes(self) -> float:
        """Bytes on the chip; a `UserError` where they are not stated."""
        if self.on_chip is None:
            raise UserError(
                f"{self.name} says nothing of its on-chip memory, which bounds the blocks of fused attention",
                todo="add on_chip: BYTES to its file, or use --attention eager",
            )
        return self.on_chip

    def seconds(self, operator: Operator, precision: Precision = "fp16", batch: int = 1) -> float:
        """Time of one operator for a batch of inputs: max(operations / peak, bytes / bandwidth)."""
        arithmetic = batch * operator.flops / self.peak_of(precision)
        traffic = operator.bytes_moved(BYTES[precision], batch) / self.bandwidth
        return max(arithmetic, traffic)


def predict(
    operators: Iterable[Operator], accelerator: Accelerator, precision: Precision = "fp16", batch: int = 1
) -> float:
    """Return the seconds of operators run one after the other."""
    return sum(accelerator.seconds(operator, precision, batch) for operator in operators)


@cache
def accelerators(preset: str = "default") -> dict[str, Accelerator]:
    """The accelerators that are known, by name, with the numbers that a preset takes."""
    with resources.as_file(resources.files(__package__) / _FILES.get(preset, "accelerators.yaml")) as path:
        return _read(path)


def find_accelerator(name: str, preset: str = "default") -> Accelerator:
    """Return a known accelerator, or the only one of a YAML file.

    Args:
        name: Of the accelerator, in any case, or of the file.
        preset: Whose numbers are taken (`closed_form.CONVENTIONS`).

    Raises:
        UserError: The name is unknown, or the file is not such a file.
    """
    if name.endswith((".yaml", ".yml")):
        own = list(_read(Path(name)).values())
        if len(own) != 1:
            raise UserError(f"it describes {len(own)} accelerators", where=name, todo="describe one per file")
        return own[0]
    known = {key.lower(): value for key, value in accelerators(preset).items()}
    if name.lower() not in known:
        hint = did_you_mean(name, accelerators(preset))
        raise UserError(
            f"unknown hardware {name!r}{hint}",
            todo=f"choose from {', '.join(accelerators(preset))}, or give a YAML file with bandwidth and peak",
        )
    return known[name.lower()]


def _read(path: Path) -> dict[str, Accelerator]:
    form = "NAME: {bandwidth: BYTES_A_SECOND, peak: {fp16: OPERATIONS_A_SECOND}}"
    found: dict[str, Accelerator] = {}
    for name, fields in read_yaml(path, kind="hardware", fields=form).items():
        content: dict[str, Any] = {"name": str(name), **(fields if isinstance(fields, dict) else {"bandwidth": fields})}
        found[str(name)] = validated(Accelerator, content, where=f"{path}, {name}", todo=f"write {form}")
    return found
